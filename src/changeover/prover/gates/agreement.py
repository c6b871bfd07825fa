"""The accuracy gate without a golden set: the candidate's answers to recent requests beside the active version's.

What is compared is what the shadow step compares later: the best class, or where an answer has none its bounded error.
The requests are a random sample, so what refuses a version is not the share itself but the interval around it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from changeover.errors import ModelRunFailed
from changeover.prover import intervals
from changeover.prover.comparison import Comparison, compare, numbers
from changeover.prover.recent import Recent
from changeover.prover.subject import Subject
from changeover.prover.verdict import failed
from changeover.rollout.plan_gates import AccuracyGate
from changeover.runtime.session import Array
from changeover.tensors import TensorSpec
from changeover.transport.control import GateResult

LEAST_REQUESTS: Final = 20
COMPARABLE: Final = (None, "agreement", "tolerance", "cosine")
"""Metrics that need nothing but another version's answer."""
_LEAST: Final = {"tolerance": 1.0, "cosine": 0.99}
_BUDGET: Final = 3.0
"""Seconds of processor time, once the least number of requests was looked at."""
MOST_SECONDS: Final = 30.0
"""The same before that."""
Answers = dict[str, Array]


class Agreement:
    """Recent requests under one rule.

    Args:
        disagreement: share of the answers that may differ, where the rule names no minimum.
        alive: called now and then, as a sign of life.
    """

    def __init__(self, rule: AccuracyGate, disagreement: float, alive: Callable[[], None]) -> None:
        self._rule = rule
        self._metric = rule.metric or "agreement"
        self._least = rule.min if rule.min is not None else _LEAST.get(self._metric, 1 - disagreement)
        self._alive = alive
        self._failures = 0
        self._largest = 0.0

    def gate(self, recent: Recent, candidate: Subject, active: Subject) -> GateResult | None:
        """Run them through both; None when too few were answered in time."""
        began = time.thread_time()
        scores: list[float] = []
        for feeds in recent.requests:
            theirs = _answers(active, feeds)
            if theirs is not None:
                scores.append(self._score(active, theirs, _answers(candidate, feeds)))
            self._alive()
            took = time.thread_time() - began
            if took > (_BUDGET if len(scores) >= LEAST_REQUESTS else MOST_SECONDS):
                break
        return self._judged(recent, np.array(scores)) if len(scores) >= LEAST_REQUESTS else None

    def _score(self, active: Subject, theirs: Answers, ours: Answers | None) -> float:
        """1 for the same answer, 0 for another or none; between them where nothing is yes or no."""
        if ours is None:
            self._failures += 1
            return -1.0 if self._metric == "cosine" else 0.0
        specs = active.session.outputs
        found = compare(specs, [theirs[s.name] for s in specs], [ours[s.name] for s in specs])
        self._largest = max(self._largest, found.max_abs)
        if self._metric == "tolerance":
            return float(all(self._near(s, theirs[s.name], ours[s.name]) for s in specs))
        return found.cosine if self._metric == "cosine" else _agreeing(found)

    def _near(self, spec: TensorSpec, theirs: Array, ours: Array) -> bool:
        if theirs.shape != ours.shape or theirs.dtype == object:
            return bool(np.array_equal(theirs, ours))
        wanted, given = numbers(spec, theirs), numbers(spec, ours)
        return bool(np.allclose(given, wanted, rtol=self._rule.tolerance, atol=self._rule.tolerance, equal_nan=True))

    def _judged(self, recent: Recent, scores: Array) -> GateResult:
        count, value = len(scores), float(scores.mean())
        counted = self._metric != "cosine" and bool(np.isin(scores, (0.0, 1.0)).all())
        low, high = intervals.share(int(scores.sum()), count) if counted else intervals.mean(scores)
        evidence: dict[str, Any] = {
            "metric": self._metric, "value": round(value, 6), "low": round(low, 6), "high": round(high, 6),
            "min": round(self._least, 6), "samples": count, "of": recent.seen, "failures": self._failures,
            "max_abs": self._largest if np.isfinite(self._largest) else None, "beside": "active version",
            "interval": "clopper-pearson" if counted else "bootstrap",
        }  # fmt: skip
        sentence = (
            f"{self._metric} with the active version {value:.4g} on {count:,} recent requests "
            f"(95 % between {low:.4g} and {high:.4g})"
        )
        if high < self._least:
            told = f"{sentence}, surely below {self._least:g}; {self._remedy()}"
            return failed("accuracy", "agreement_low", told, evidence)
        told = "at least" if value >= self._least else "not surely below"
        return GateResult("accuracy", "passed", f"{sentence}, {told} {self._least:g}", evidence)

    def _remedy(self) -> str:
        if self._rule.min is None and self._metric == "agreement":
            return "a version that is meant to answer otherwise needs a higher rollout.limits.disagreement"
        return "gates.accuracy of the plan asks for it"


def _agreeing(found: Comparison) -> float:
    return float(not found.flip) if found.flip is not None else 1.0 - found.error


def _answers(subject: Subject, feeds: Answers) -> Answers | None:
    try:
        return subject.run(feeds)
    except ModelRunFailed:
        return None
