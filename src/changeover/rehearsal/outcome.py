"""What became of one candidate of a rehearsal, from what its clients saw and what the server says. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from changeover.bench.check import Outcome as Answer
from changeover.bench.records import Records
from changeover.rehearsal.cases import Case

Document = Mapping[str, Any]

TAKEN_BACK: Final = ("rolled_back", "failed")
PROMOTED: Final = ("watching", "succeeded")
_DEATH: Final = ("crash", "worker", "hang", "hung", "memory")


@dataclass(frozen=True, slots=True)
class Moments:
    """When things happened, `time.monotonic`; None: they did not."""

    pushed: float
    armed: float | None
    verdict: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One candidate.

    Attributes:
        kind: of the case.
        run: which one of the kind, from 1.
        phase: of the rollout at the end.
        caught_by: `gate NAME`, `judge`, `shield` (its budget was spent), `death` (of the worker, or its memory),
            `operator` or `nobody`.
        step: of the rollout when its verdict fell.
        detection_s: from the fault's beginning (for one that begins with the load: from the push) to the verdict.
        requests: that the clients sent meanwhile.
        exposed: of them went to the candidate after its fault had begun.
        shielded: of those were answered by the active version after all.
        errors: clients that got an error, or nothing.
        shed: of them those that the server turned away, because the machine could not keep up with the clients.
        wrong: clients that got values which are not the model's.
        late: answers after the clients' deadline.
        back_ms: from the verdict to the candidate's last answer to a client; 0 when none came after it.
        acknowledged_ms: from the verdict to the last gateway's acknowledgement that nothing goes to it any more.
    """

    kind: str
    run: int
    bad: bool
    phase: str
    caught_by: str
    reason: str
    detail: str
    step: str
    detection_s: float | None
    requests: int
    exposed: int
    shielded: int
    errors: int
    shed: int
    wrong: int
    late: int
    back_ms: float | None
    acknowledged_ms: float | None
    failures: dict[str, int]

    @property
    def right(self) -> bool:
        """Whether a bad candidate was taken back, a healthy one promoted."""
        return self.phase in (TAKEN_BACK if self.bad else PROMOTED)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "right": self.right}


def outcome(case: Case, run: int, moments: Moments, rollout: Document, seen: tuple[Records, str, float]) -> Outcome:
    """Put together what is known of one candidate.

    Args:
        case: which one it was.
        run: its number.
        moments: of the rehearsal's own observation.
        rollout: as the control port shows it at its end.
        seen: the clients' records, the candidate's version, and their deadline in seconds.
    """
    records, version, deadline = seen
    phase, outcomes = str(rollout["phase"]), records.column("outcome")
    taken_back = phase in TAKEN_BACK
    sent = _of(records, version, "sent")
    begun = moments.pushed if moments.armed is None else moments.armed
    shielded = _shielded(rollout)
    detected = moments.verdict - max(begun, moments.pushed) if taken_back and moments.verdict is not None else None
    answered = outcomes < Answer.FAILED
    late = answered & (records.column("received") - records.column("sent") > deadline)
    return Outcome(
        kind=case.name,
        run=run,
        bad=case.bad,
        phase=phase,
        caught_by=caught_by(rollout),
        reason=str(rollout.get("reason") or ""),
        detail=str(rollout.get("detail") or ""),
        step=_step(rollout),
        detection_s=None if detected is None else round(max(detected, 0.0), 2),
        requests=len(records),
        exposed=int((sent >= begun).sum()) + shielded if case.bad else len(sent) + shielded,
        shielded=shielded,
        errors=int((outcomes >= Answer.FAILED).sum()),
        shed=int((outcomes == Answer.SHED).sum()),
        wrong=int(((outcomes == Answer.WRONG) | (outcomes == Answer.WRONG_VERSION)).sum()),
        late=int(late.sum()),
        back_ms=_back_ms(_of(records, version, "received"), moments.verdict) if taken_back else None,
        acknowledged_ms=acknowledged_ms(rollout),
        failures=records.failures(),
    )


def caught_by(rollout: Document) -> str:
    """Return who took a candidate back: a gate by its name, else by the history, the reason and who decided."""
    if str(rollout["phase"]) not in TAKEN_BACK:
        return "nobody"
    failed = [str(gate["gate"]) for gate in rollout.get("gates") or () if gate["result"] == "failed"]
    if failed and rollout["phase"] == "failed":
        return f"gate {failed[-1]}"
    reason, way_back = str(rollout.get("reason") or ""), _way_back(rollout)
    by = str((way_back or {}).get("by") or "")
    if "shield" in reason:
        return "shield"
    if by not in ("", "judge", "worker"):
        return by
    return "death" if by == "worker" or any(word in reason for word in _DEATH) else "judge"


def verdict_at(rollout: Document, wall: float, monotonic: float) -> float | None:
    """Return the moment (`time.monotonic`) at which the way back began, from the rollout's history.

    Args:
        rollout: as the control port shows it.
        wall: seconds since the epoch, now.
        monotonic: the same moment.
    """
    entry = _way_back(rollout)
    if entry is None:
        return None
    return monotonic - (wall - datetime.fromisoformat(str(entry["at"])).timestamp())


def _way_back(rollout: Document) -> Document | None:
    """The moment of the history at which the way back began."""
    moments = (entry for entry in rollout.get("history") or () if entry.get("phase") in ("rolling_back", *TAKEN_BACK))
    return next(moments, None)


def _step(rollout: Document) -> str:
    """The last step that the history names before the end."""
    named = [str(entry["step"]) for entry in rollout.get("history") or () if entry.get("step")]
    step = rollout.get("step")
    return named[-1] if named else str(step["name"]) if isinstance(step, Mapping) and step.get("name") else ""


def _shielded(rollout: Document) -> int:
    candidate = (rollout.get("arms") or {}).get("candidate") or {}
    return int(candidate.get("shielded") or 0)


def acknowledged_ms(rollout: Document) -> float | None:
    """Return the milliseconds from the verdict to the last acknowledgement of the way back, from the history.

    None where there was no way: a gate refused the candidate, or its rollout has not come to the end of the way.
    """
    history = list(rollout.get("history") or ())
    begun = next((entry["at"] for entry in history if entry.get("phase") == "rolling_back" and entry.get("at")), None)
    ended = next((entry["at"] for entry in history if entry.get("phase") == "rolled_back" and entry.get("at")), None)
    if begun is None or ended is None:
        return None
    return round((datetime.fromisoformat(str(ended)) - datetime.fromisoformat(str(begun))).total_seconds() * 1e3, 1)


def _of(records: Records, version: str, column: str) -> Any:
    """A column of the requests that this version answered."""
    if version not in records.versions:
        return np.empty(0)
    return records.column(column)[records.column("version") == records.version_index(version)]


def _back_ms(received: Any, verdict: float | None) -> float | None:
    if verdict is None:
        return None
    last = float(received.max()) if len(received) else verdict
    return round(max(0.0, last - verdict) * 1e3, 1)


def summary(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return one row a kind, in the order in which the kinds first came: medians, largest values, sums."""
    kinds = dict.fromkeys(outcome.kind for outcome in outcomes)
    return [_row(kind, [outcome for outcome in outcomes if outcome.kind == kind]) for kind in kinds]


def _row(kind: str, mine: Sequence[Outcome]) -> dict[str, Any]:
    detected = sorted(o.detection_s for o in mine if o.detection_s is not None)
    back = [o.back_ms for o in mine if o.back_ms is not None]
    acknowledged = [o.acknowledged_ms for o in mine if o.acknowledged_ms is not None]
    caught = Counter(o.caught_by for o in mine)
    return {
        "kind": kind,
        "runs": len(mine),
        "right": sum(o.right for o in mine),
        "taken_back": sum(o.phase in TAKEN_BACK for o in mine),
        "caught_by": dict(caught.most_common()),
        "reasons": dict(Counter(o.reason for o in mine if o.reason).most_common()),
        "detection_s": {"median": detected[len(detected) // 2], "max": detected[-1]} if detected else None,
        "requests": sum(o.requests for o in mine),
        "exposed": sum(o.exposed for o in mine),
        "shielded": sum(o.shielded for o in mine),
        "errors": sum(o.errors for o in mine),
        "shed": sum(o.shed for o in mine),
        "wrong": sum(o.wrong for o in mine),
        "late": sum(o.late for o in mine),
        "failures": dict(sum((Counter(o.failures) for o in mine), Counter[str]()).most_common()),
        "back_ms": max(back) if back else None,
        "acknowledged_ms": max(acknowledged) if acknowledged else None,
    }
