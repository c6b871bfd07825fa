"""The accuracy gate without a golden set: the candidate's answers to recent requests beside the active version's.

What is compared is what the shadow step compares later: the best class, or where an answer has none its bounded error.
The requests are a random sample, so what refuses a version is not the share itself but the interval around it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from changeover.errors import ModelRunFailed
from changeover.prover import intervals
from changeover.prover.comparison import Comparison, compare, compare_each, numbers
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
_BITE: Final = 0.002
"""Seconds of processor time after which no more requests go together: a proof rests between its steps."""
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
        at, size, most = 0, 1, min(candidate.rows, active.rows)
        while at < len(recent.requests):
            missing, before = LEAST_REQUESTS - len(scores), time.thread_time()
            part = recent.requests[at : at + (min(size, missing) if missing > 0 else size)]
            at += len(part)
            scores += self._scores(part, candidate, active)
            now = time.thread_time()
            size = min(2 * size, most) if now - before < _BITE else size
            self._alive()
            if now - began > (_BUDGET if len(scores) >= LEAST_REQUESTS else MOST_SECONDS):
                break
        return self._judged(recent, np.array(scores)) if len(scores) >= LEAST_REQUESTS else None

    def _scores(self, part: Sequence[Answers], candidate: Subject, active: Subject) -> list[float]:
        """Of the requests that the active version answers."""
        specs = active.session.outputs
        answered = zip(_answers(active, part), _answers(candidate, part), strict=True)
        pairs = [(theirs, ours) for theirs, ours in answered if theirs is not None]
        both = [(theirs, ours) for theirs, ours in pairs if ours is not None]
        self._failures += len(pairs) - len(both)
        missed = -1.0 if self._metric == "cosine" else 0.0
        scores = [self._score(specs, *p, found) for p, found in zip(both, _compared(specs, both), strict=True)]
        return scores + [missed] * (len(pairs) - len(both))

    def _score(self, specs: Sequence[TensorSpec], theirs: Answers, ours: Answers, found: Comparison) -> float:
        """1 for the same answer, 0 for another; between them where nothing is yes or no."""
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


def _compared(specs: Sequence[TensorSpec], pairs: Sequence[tuple[Answers, Answers]]) -> list[Comparison]:
    """What the answers of each pair differ by; all at once where they are rows of one shape."""
    sides = [[[pair[side][s.name] for pair in pairs] for s in specs] for side in (0, 1)]
    if len(pairs) > 1 and all(_alike(arrays) for side in sides for arrays in side):
        return compare_each(specs, *([np.concatenate(arrays) for arrays in side] for side in sides))
    return [compare(specs, [theirs[s.name] for s in specs], [ours[s.name] for s in specs]) for theirs, ours in pairs]


def _answers(subject: Subject, part: Sequence[Answers]) -> list[Answers | None]:
    """To requests of one row each, in one run where that goes; None where a run failed."""
    if len(part) > 1 and all(feeds.keys() == part[0].keys() for feeds in part):  # other versions had other inputs
        columns = {name: [feeds[name] for feeds in part] for name in part[0]}
        together = {name: np.concatenate(arrays) for name, arrays in columns.items() if _alike(arrays)}
        rows = _answer(subject, together) if together.keys() == columns.keys() else None
        if rows is not None and all(array.shape[:1] == (len(part),) for array in rows.values()):
            return [{name: array[at : at + 1] for name, array in rows.items()} for at in range(len(part))]
    return [_answer(subject, feeds) for feeds in part]


def _alike(arrays: Sequence[Array]) -> bool:
    """Whether these are rows of one shape."""
    first = arrays[0].shape
    return first[:1] == (1,) and all(array.shape == first for array in arrays)


def _answer(subject: Subject, feeds: Answers) -> Answers | None:
    try:
        return subject.run(feeds)
    except ModelRunFailed:
        return None
