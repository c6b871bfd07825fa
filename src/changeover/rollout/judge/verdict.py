"""The judge: takes windows in, gives a ruling on the step when asked. Pure, and without a clock.

Alpha is that of the whole rollout, split evenly over errors, work p50, work p95, agreement and a reserve. Every test
multiplies its evidence over strata (step, worker of either version); none pools counts of steps with different weight.
What has crossed once stays crossed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from changeover.rollout.judge.agreement import Agreement
from changeover.rollout.judge.betting import RECENT
from changeover.rollout.judge.errors import Errors, trials_of
from changeover.rollout.judge.explain import missing, reached
from changeover.rollout.judge.findings import ALPHA, PARTS, Finding, Limits, Ruling, Verdict
from changeover.rollout.judge.guard import Guard
from changeover.rollout.judge.keyed import LEAST, KeyedErrors
from changeover.rollout.judge.utilisation import Load
from changeover.rollout.judge.work import Work
from changeover.telemetry.evidence import KEY_CAP, Window

_REASONS = {
    "errors": "error_rate",
    "work_p50": "latency_increase",
    "work_p95": "latency_increase",
    "agreement": "disagreement",
    "guard": "latency_guard",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a step asks for, and where it is: seconds and requests."""

    elapsed: float
    minimum: int
    hold: float
    max_hold: float


class Judge:
    """Judges one rollout.

    Args:
        limits: of the plan.
        alpha: chance of taking back a rollout that keeps them.
        prove: a step is only good when every test has shown that the limit is kept.
    """

    def __init__(self, limits: Limits, alpha: float = ALPHA, prove: bool = False) -> None:
        self.limits = limits
        self._prove = prove
        self._threshold = threshold = math.log(PARTS / alpha)
        self._errors = Errors(limits.error_rate, threshold)
        self._keyed = KeyedErrors(limits.error_rate, threshold)
        self._work = (
            Work(0.5, limits.latency_increase, threshold),
            Work(0.95, limits.latency_increase, threshold),
        )
        self._agreement = Agreement(limits.disagreement, threshold)
        self._guard = Guard(limits.latency_increase)
        self._load = Load()
        self._epoch = 0
        self._units = 0
        self._windows = 0
        """Windows of this step since the candidate's first request in it."""
        self._mirrored = False

    def observe(self, window: Window) -> None:
        """Take one window; windows do not overlap, and come in the order of time."""
        if window.stratum[0] != self._epoch:
            self._epoch, self._units, self._windows = window.stratum[0], 0, 0
        self._mirrored = window.weight == 0
        self._units += trials_of(window)[1] if self._mirrored else window.candidate.requests
        self._windows += self._units > 0
        self._keyed.observe(window)
        self._errors.observe(window)
        for work in self._work:
            work.observe(window, 1 / KEY_CAP if self._keyed.keyed else 1.0)
        self._agreement.observe(window.pairs)
        self._guard.observe(window)
        self._load.observe(window)

    def growth(self, weight: int) -> Finding:
        """Whether the candidate may have this many buckets; `failed` refuses growth and is no verdict on it."""
        return self._load.growth(weight, self._work[0].beyond_cold())

    def ruling(
        self, elapsed: float, minimum: int, hold: float, max_hold: float, next_weight: int | None = None
    ) -> Ruling:
        """What is to be said of the step now.

        Args:
            elapsed: seconds since the step began.
            minimum: requests of the candidate (in a shadow step: mirrored ones) that the step asks for.
            hold: least seconds at the step.
            max_hold: seconds after which what is not decided is `inconclusive`.
            next_weight: buckets after this step, `None` when it does not grow.
        """
        findings = self._findings()
        crossed = [finding for finding in findings if finding.verdict is Verdict.FAILED]
        if crossed:
            return Ruling(Verdict.FAILED, _REASONS[crossed[0].test], crossed[0].detail, findings)
        growth = self.growth(next_weight) if next_weight is not None else None
        if growth is not None:
            findings = (*findings, growth)
        lack = self._lack(findings, _Asked(elapsed, minimum, hold, max_hold))
        if lack is None:
            verdict = Verdict.PASSED if self._proved(findings) else Verdict.CLEAR
            return Ruling(verdict, str(verdict), reached(findings, self._units), findings)
        reason, detail = lack
        verdict = Verdict.INCONCLUSIVE if elapsed >= max_hold else Verdict.WAITING
        return Ruling(verdict, reason, detail, findings)

    def _findings(self) -> tuple[Finding, ...]:
        work = [test.finding() for test in self._work]
        errors, agreement, guard = self._errors.finding(), self._agreement.finding(), self._guard.finding()
        if not self._mirrored:  # nothing comes any more that could dispel a doubt of it
            agreement = replace(agreement, against=False)
        if self._keyed.keyed:
            errors = self._by_keys(errors)
            if not self._keyed.enough:
                work = [replace(finding, verdict=Verdict.WAITING) for finding in work]
        return (errors, *work, agreement, guard)

    def _by_keys(self, finding: Finding) -> Finding:
        """The finding on errors when traffic is keyed: both by requests and by keys it must have crossed."""
        keyed, threshold = self._keyed, self._threshold
        log_e, high = min(finding.log_e, keyed.log_e), keyed.excluded
        crossed = min(self._errors.peak, keyed.log_e) >= threshold and keyed.enough
        verdict = Verdict.FAILED if crossed else Verdict.WAITING
        if verdict is Verdict.WAITING and high is not None and high <= finding.limit:
            verdict = Verdict.PASSED
        ours, theirs = keyed.keys
        detail = f"{finding.detail}; keys: {ours} on the candidate, {theirs} on the active version"
        need = max(LEAST - min(keyed.keys), 0) or None
        against = finding.against and keyed.against
        return replace(
            finding, log_e=log_e, low=0.0, high=high, verdict=verdict, detail=detail, need=need, against=against
        )

    def _lack(self, findings: tuple[Finding, ...], asked: _Asked) -> tuple[str, str] | None:
        """Reason and sentence of what a good step still wants, None when nothing."""
        if self._units < asked.minimum:
            what = "mirrored requests" if self._mirrored else "requests on the candidate"
            return "needs_more", missing(asked.minimum - self._units, what, self._units, asked.elapsed)
        if self._keyed.keyed and not self._keyed.enough and not self._mirrored:
            least = min(self._keyed.keys)
            return "needs_keys", missing(LEAST - least, "keys on each version", least, asked.elapsed)
        doubts = [finding.test for finding in findings if finding.against]
        if doubts:
            return "doubt", f"what was seen speaks against the candidate, and is no verdict yet: {', '.join(doubts)}"
        if self._prove and not self._proved(findings):
            return "needs_proof", self._unproved(findings, asked)
        if asked.elapsed < asked.hold:
            left = asked.hold - asked.elapsed
            return "waiting", "nothing failed" + (f"; {left:.0f} s of the hold are left" if left < math.inf else "")
        if 0 < self._windows < RECENT:
            return "waiting", f"nothing failed; a failure shows in {RECENT} windows, and {self._windows} were seen"
        refused = next((f for f in findings if f.test == "utilisation" and f.verdict is Verdict.FAILED), None)
        return ("utilisation", refused.detail) if refused else None

    def _unproved(self, findings: tuple[Finding, ...], asked: _Asked) -> str:
        open_ = [f for f in findings if f.test in _REASONS and f.verdict is Verdict.WAITING and f.test != "guard"]
        needs = [finding.need for finding in open_ if finding.need]
        names = ", ".join(finding.test for finding in open_ if finding.estimate is not None)
        if not needs:
            return f"not shown to keep the limits yet: {names or 'nothing was compared'}"
        what = f"requests without a regression, to show that the limits are kept ({names})"
        return missing(max(needs), what, self._units, asked.elapsed)

    @staticmethod
    def _proved(findings: tuple[Finding, ...]) -> bool:
        """Whether each test that has seen anything, errors above all, has shown that its limit is kept."""
        tests = [f for f in findings if f.test in ("errors", "work_p50", "work_p95", "agreement")]
        return all(f.verdict is Verdict.PASSED or (f.estimate is None and f.test != "errors") for f in tests)

    def memory(self) -> dict[str, Any]:
        """All that it knows, as JSON, so that another judge goes on where this one is."""
        parts = {name: part.memory() for name, part in self._parts().items()}
        return {**parts, **self._place()}

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on from a memory of a judge with the same limits."""
        for name, part in self._parts().items():
            part.remember(memory[name])
        self._epoch, self._units, self._mirrored = memory["epoch"], memory["units"], memory["mirrored"]
        self._windows = memory.get("windows", 0)

    def _place(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "units": self._units, "windows": self._windows, "mirrored": self._mirrored}

    def _parts(self) -> dict[str, Errors | KeyedErrors | Work | Agreement | Guard | Load]:
        return {
            "errors": self._errors,
            "keyed": self._keyed,
            "work_p50": self._work[0],
            "work_p95": self._work[1],
            "agreement": self._agreement,
            "guard": self._guard,
            "load": self._load,
        }
