"""The performance gate: processor time of a run of the candidate beside the active version's, in interleaved pairs.

Both sessions are in this process, at the same priority, and take turns run by run: whatever the machine does meanwhile,
it does to both. A pair is so many turns that they take some milliseconds, and its ratio is that of the two median runs,
so a run that was disturbed counts for nothing. The version's ratio is the median over the pairs; it is refused when the
whole interval of that median is over the limit. More pairs are taken until the interval lies on one side of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from changeover.errors import ModelRunFailed
from changeover.prover import intervals
from changeover.prover.subject import Subject, bounded
from changeover.prover.verdict import failed
from changeover.rollout.plan_gates import PerformanceGate
from changeover.runtime.session import Array
from changeover.runtime.warmup import generated_rows, head
from changeover.transport.control import GateResult

_LEAST_PAIRS: Final = 7
_MOST_PAIRS: Final = 240
_PAIR: Final = 0.0005
"""Seconds of each version in a pair, at least."""
_MOST_TURNS: Final = 100
_LEAST_TURNS: Final = 3
"""Of runs that are short: a median of fewer is none."""
_BUDGET: Final = 4.0
"""Seconds of processor time for a batch size, once the least number of pairs is there."""
_LARGER: Final = 8
_LONG: Final = 0.005
"""Seconds of a run of one row: one that takes longer tells enough."""
_CPU: Final = ("CPUExecutionProvider",)

Clock = Callable[[], float]


def performance(
    rule: PerformanceGate, candidate: Subject, active: Subject, providers: tuple[str, ...], alive: Callable[[], None]
) -> GateResult:
    """Compare at one row, and at eight where both versions take batches and are quick; the worse ratio counts."""
    clock: Clock = time.thread_time if providers == _CPU else time.perf_counter
    sizes = [1]
    if candidate.batchable and active.batchable and min(candidate.max_batch, active.max_batch) > 1:
        sizes.append(min(candidate.max_batch, active.max_batch, _LARGER))
    rows = generated_rows(active.session.inputs, sizes[-1], batchable=active.batchable)
    found: dict[str, dict[str, float]] = {}
    for size in sizes:
        arrays = head(rows, size, active.batchable)
        feeds = {spec.name: array for spec, array in zip(active.session.inputs, arrays, strict=True)}
        try:
            found[str(size)] = _Duel(candidate, active, feeds, clock).fight(rule, alive)
        except ModelRunFailed as error:
            detail = f"a run on generated inputs failed, so there is nothing to compare: {error.message}"
            return GateResult("performance", "skipped", detail)
        if found[str(size)]["active_ms"] > _LONG * 1e3:
            break
    return _judged(rule, found)


class _Duel:
    """Both versions on the same inputs."""

    def __init__(self, candidate: Subject, active: Subject, feeds: dict[str, Array], clock: Clock) -> None:
        self._subjects = candidate, active
        self._feeds = feeds
        self._clock = clock
        self._order = 0, 1
        self._turns = 1
        self._pair()  # first runs are never like the others
        took = max(min(self._pair()), 1e-7)
        if took < _LONG:
            self._turns = min(max(round(_PAIR / took), _LEAST_TURNS), _MOST_TURNS)

    def fight(self, rule: PerformanceGate, alive: Callable[[], None]) -> dict[str, float]:
        """As many pairs as it takes; what came of them, in milliseconds of a run."""
        pairs: list[tuple[float, float]] = []
        until = time.thread_time() + _BUDGET
        while len(pairs) < _LEAST_PAIRS or (_open(rule, _summary(pairs)) and time.thread_time() < until):
            pairs.append(self._pair())
            alive()
            if len(pairs) == _MOST_PAIRS:
                break
        return _summary(pairs)

    def _pair(self) -> tuple[float, float]:
        """Seconds of the median run of each, in turns: A B, B A."""
        spent: tuple[list[float], list[float]] = [], []
        with bounded(max(s.run_timeout for s in self._subjects) * 2 * self._turns):
            for _ in range(self._turns):
                self._order = self._order[::-1]
                for side in self._order:
                    began = self._clock()
                    self._subjects[side].session.run_feeds(self._feeds)
                    spent[side].append(self._clock() - began)
        return statistics.median(spent[0]), statistics.median(spent[1])


def _summary(pairs: list[tuple[float, float]]) -> dict[str, float]:
    ratios = [ours / max(theirs, 1e-9) for ours, theirs in pairs]
    low, high = intervals.median(ratios)
    ours, theirs = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
    return {
        "ratio": round(statistics.median(ratios), 4), "low": round(low, 4), "high": round(high, 4),
        "candidate_ms": round(ours, 4), "active_ms": round(theirs, 4), "pairs": len(pairs),
    }  # fmt: skip


def _open(rule: PerformanceGate, found: dict[str, float]) -> bool:
    """Whether more pairs may decide it."""
    return _counts(rule, found) and found["low"] <= rule.max_ratio <= found["high"]


def _counts(rule: PerformanceGate, found: dict[str, float]) -> bool:
    """Whether the difference is as large as the plan asks for."""
    return found["candidate_ms"] - found["active_ms"] >= rule.min_difference * 1e3


def _over(rule: PerformanceGate, found: dict[str, float]) -> bool:
    return _counts(rule, found) and found["low"] > rule.max_ratio


def _judged(rule: PerformanceGate, found: dict[str, dict[str, float]]) -> GateResult:
    size, worst = max(found.items(), key=lambda item: (_over(rule, item[1]), item[1]["ratio"]))
    sentence = (
        f"a run of {size} row{'s' if size != '1' else ''} takes {worst['candidate_ms']:g} ms of processor time, "
        f"{worst['ratio']:.2f} times the active version's {worst['active_ms']:g} ms "
        f"(95 % between {worst['low']:.2f} and {worst['high']:.2f})"
    )
    evidence: dict[str, Any] = {"max_ratio": rule.max_ratio, "ratio": worst["ratio"], "rows": found}
    limit = f"the limit of {rule.max_ratio:g}"
    if _over(rule, worst):
        return failed("performance", "too_slow", f"{sentence}, over {limit}", evidence)
    if worst["ratio"] <= rule.max_ratio:
        within = f"within {limit}"
    elif _counts(rule, worst):
        within = f"not surely over {limit}"
    else:
        within = f"and less than {rule.min_difference * 1e3:g} ms more counts for nothing"
    return GateResult("performance", "passed", f"{sentence}, {within}", evidence)
