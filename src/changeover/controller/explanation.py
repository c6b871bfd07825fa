"""A rollout explained in sentences (pure): where it is, since when, by whom, on which numbers, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from changeover.controller.bodies import ArmBody, FindingBody, MomentBody, RolloutStatus, VersionName
from changeover.rollout.judge.explain import sentence
from changeover.rollout.judge.findings import Finding, Verdict

_TESTS: Final = frozenset({"errors", "work_p50", "work_p95", "agreement", "guard", "utilisation"})


def explained(status: RolloutStatus) -> list[str]:
    """The sentences, most important first."""
    return [*_where(status), *_gates(status), *_traffic(status), *_ruling(status), *_next(status)]


def _where(status: RolloutStatus) -> Iterator[str]:
    way = f"Rollout {status.id} of {status.model} from {_name(status.source)} to {_name(status.target)}"
    step = status.step
    if step is not None and status.phase in ("shadowing", "progressing", "paused"):
        since = f"since {step.since}" if step.since else "which is being taken just now"
        yield f"{way} is {status.phase} at step {step.name}, {step.index} of {step.of}, {since}."
    elif status.source is None and status.phase == "succeeded":
        yield f"{way} is succeeded: the model's first version serves."
    else:
        yield f"{way} is {status.phase}: {_PHASES.get(status.phase, 'it is under way')}."
    if status.history:
        yield _last(status.history[-1], status.detail)
    if status.reason:
        yield f"The reason is {status.reason}: {_ended(status.detail or 'no more is known')}"


def _last(moment: MomentBody, detail: str | None) -> str:
    event = moment.event or ""
    if event.startswith("found_"):
        return f"A new controller took it over at {moment.at}; {_TAKEN_OVER}."
    if event in _OF_THE_JUDGE:
        return f"What happened last: {_OF_THE_JUDGE[event]} at {moment.at}."
    why = f": {moment.detail}" if moment.detail and moment.detail != detail else ""
    return f"What happened last: {moment.phase} at {moment.at}, decided by {moment.by or 'plan'}{why}."


_OF_THE_JUDGE: Final = {"unjudged": "the judge failed", "judged": "the judge was sound again"}
_TAKEN_OVER = (
    "a hold began anew then, and of what was counted before, the part that was on record or that the gateways told "
    "again counts on"
)
_PHASES = {
    "pending": "it waits for its turn; one rollout of a model goes on at a time",
    "validating": "the new version is being loaded and goes through its gates; it has no traffic",
    "shadowing": "the new version answers copies of live requests; no client sees its answers",
    "progressing": "the new version has a share of the traffic",
    "paused": "its share stays as it is until somebody resumes, promotes or aborts it",
    "promoting": "all traffic is being given to the new version",
    "watching": "the new version has the traffic, and the old one is kept warm for the way back",
    "succeeded": "the new version has all traffic, and the old one was released",
    "rolling_back": "the traffic is being given back to the version that served before",
    "rolled_back": "the version that served before has all traffic again",
    "failed": "the new version never got the traffic",
}


def _gates(status: RolloutStatus) -> Iterator[str]:
    failed = [gate for gate in status.gates if gate.result == "failed"]
    passed = [gate.gate for gate in status.gates if gate.result == "passed"]
    skipped = [gate.gate for gate in status.gates if gate.result == "skipped"]
    for gate in failed:
        if gate.detail == status.detail:  # said already
            yield f"The gate {gate.gate} refused the version."
            continue
        yield f"The gate {gate.gate} refused the version: {_ended(gate.detail or 'no more is known')}"
    if passed:
        yield f"Gates passed: {', '.join(passed)}" + (f"; skipped: {', '.join(skipped)}." if skipped else ".")


def _traffic(status: RolloutStatus) -> Iterator[str]:
    weight = status.weight
    if weight is not None and not weight.set:
        yield "The new version has no share of the traffic."
    elif weight is not None:
        actual = f", and had {weight.actual:.2%} of the requests at this step" if weight.actual is not None else ""
        yield f"The new version is to have {weight.set / 100:.4g}% of the traffic{actual}."
    for who, arm in (("old", status.arms.active), ("new", status.arms.candidate)):
        if arm is not None:
            yield _answered(who, arm)


def _answered(who: str, arm: ArmBody) -> str:
    shielded = f", {arm.shielded:,} of them shielded" if arm.shielded else ""
    if arm.p50_ms is None or arm.p99_ms is None:
        times = ""
    else:
        times = f"; in the last seconds p50 was {arm.p50_ms:.2f} ms and p99 {arm.p99_ms:.2f} ms"
    return (
        f"The {who} version {arm.version} answered {arm.requests:,} requests, {arm.failures:,} failed{shielded}{times}."
    )


def _ruling(status: RolloutStatus) -> Iterator[str]:
    ruling = status.ruling
    if ruling is None:
        return
    if ruling.reason != status.reason:
        why = f" ({ruling.reason})" if ruling.reason != ruling.verdict else ""
        says = f"The judge says {ruling.verdict}{why}"
        if ruling.verdict not in set(Verdict):
            says = f"What was judged last ended by {_ENDED_BY.get(ruling.verdict, ruling.verdict)}; the judge had said"
        yield f"{says}: {_ended(ruling.detail)}"
    yield from (_found(finding) for finding in ruling.findings)


_ENDED_BY: Final = {
    "promote_asked": "a promotion by hand",
    "weight_asked": "a weight set by hand",
    "resume_asked": "a resumption by hand",
    "abort_asked": "an abort",
    "undo_asked": "an undo",
    "window_ended": "the end of the undo window",
    "superseded": "a newer version",
}


def _found(finding: FindingBody) -> str:
    """In the judge's own words, unless another release has left a test that this one does not know."""
    if finding.test not in _TESTS:
        return f"{finding.test}: {_ended(finding.detail)}"
    numbers = (finding.log_e or 0.0, finding.estimate, finding.low or 0.0, finding.high, finding.limit or 0.0)
    return sentence(Finding(finding.test, Verdict(finding.verdict), *numbers, finding.detail, finding.need))


def _next(status: RolloutStatus) -> Iterator[str]:
    step = status.step
    if status.phase == "paused":
        manual = ((status.plan or {}).get("rollout") or {}).get("strategy") == "manual"
        verbs = f"weight {status.model} SHARE" if manual else f"resume|promote|abort {status.model}"
        yield f"It waits for people: `changeover rollout {verbs}`."
    elif status.phase == "watching" and status.undo_until:
        yield f"Until {status.undo_until} `changeover undo {status.model}` gives everything back."
    elif step is not None and status.phase in ("shadowing", "progressing"):
        left = max(0.0, (step.hold_s or 0) - (step.held_s or 0))
        missing = max(0, (step.min_requests or 0) - (step.requests or 0))
        wanted = step.min_requests or 0
        yield f"This step lasts {left:.0f} s more at least, and lacks {missing:,} of {wanted:,} requests."


def _name(version: VersionName | None) -> str:
    return f"{version.version}@{version.digest[:4]}" if version else "nothing"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith(".") else f"{sentence}."
