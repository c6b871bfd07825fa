"""The performance gate: processor time of a run of the candidate beside the active version's, in interleaved pairs.

Both sessions are in this process, at the same idle priority, and take turns in the order A B, B A: whatever the machine
does meanwhile, it does to both. The ratio is the median over the pairs. More pairs are run until their interval lies on
one side of the limit, or enough is enough; then the median itself decides.
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
_MOST_PAIRS: Final = 60
_SAMPLE: Final = 0.0005
"""Seconds of a sample at least: short runs are taken together, so that what is measured is not the clock."""
_BUDGET: Final = 4.0
"""Seconds of processor time for a batch size, once the least number of pairs is there."""
_LARGER: Final = 8
_LONG_MS: Final = 5.0
"""A run of one row that takes longer tells enough."""
_NEGLIGIBLE_MS: Final = 0.05
"""A row: a difference that no client feels is no refusal, whatever the ratio. A request's way takes twice as long."""
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
    found: dict[str, Any] = {}
    for size in sizes:
        arrays = head(rows, size, active.batchable)
        feeds = {spec.name: array for spec, array in zip(active.session.inputs, arrays, strict=True)}
        try:
            pair = _Timed(candidate, feeds, clock), _Timed(active, feeds, clock)
            found[str(size)] = _compared(rule.max_ratio, size, *pair, alive)
        except ModelRunFailed as error:
            detail = f"a run on generated inputs failed, so there is nothing to compare: {error.message}"
            return GateResult("performance", "skipped", detail)
        if found[str(size)]["active_ms"] > _LONG_MS:
            break
    return _judged(rule.max_ratio, found)


class _Timed:
    """One version's runs on the same inputs, as many a sample as make it long enough.

    Attributes:
        runs: in a sample.
        samples: seconds of a run, the mean of each sample.
    """

    def __init__(self, subject: Subject, feeds: dict[str, Array], clock: Clock) -> None:
        self._subject = subject
        self._feeds = feeds
        self._clock = clock
        self.runs = 1
        self.samples: list[float] = []
        self._time()  # a first run is never like the others
        self.runs = max(1, round(_SAMPLE / max(self._time(), 1e-7)))

    def sample(self) -> None:
        """Take one more."""
        self.samples.append(self._time())

    def _time(self) -> float:
        run, feeds, runs = self._subject.session.run_feeds, self._feeds, self.runs
        with bounded(self._subject.run_timeout * runs):
            began = self._clock()
            for _ in range(runs):
                run(feeds)
            return (self._clock() - began) / runs


def _compared(
    limit: float, size: int, candidate: _Timed, active: _Timed, alive: Callable[[], None]
) -> dict[str, float]:
    until, order = time.thread_time() + _BUDGET, (candidate, active)
    while len(active.samples) < _MOST_PAIRS:
        for timed in order:
            timed.sample()
        alive()
        order = order[::-1]
        if len(active.samples) >= _LEAST_PAIRS:
            low, high = intervals.median(_ratios(candidate, active))
            felt = (
                statistics.median(candidate.samples) - statistics.median(active.samples) > _NEGLIGIBLE_MS * size / 1e3
            )
            if not felt or not low <= limit <= high or time.thread_time() > until:
                break
    ratios = _ratios(candidate, active)
    low, high = intervals.median(ratios)
    ours, theirs = statistics.median(candidate.samples), statistics.median(active.samples)
    return {
        "ratio": round(statistics.median(ratios), 4), "low": round(low, 4), "high": round(high, 4),
        "candidate_ms": round(ours * 1e3, 4), "active_ms": round(theirs * 1e3, 4), "pairs": len(ratios),
    }  # fmt: skip


def _ratios(candidate: _Timed, active: _Timed) -> list[float]:
    return [ours / max(theirs, 1e-9) for ours, theirs in zip(candidate.samples, active.samples, strict=True)]


def _over(size: str, one: dict[str, float], limit: float) -> bool:
    """Whether the ratio at this size is over the limit, and the difference one that counts."""
    return one["ratio"] > limit and one["candidate_ms"] - one["active_ms"] > _NEGLIGIBLE_MS * int(size)


def _judged(limit: float, found: dict[str, Any]) -> GateResult:
    size, worst = max(found.items(), key=lambda item: (_over(item[0], item[1], limit), item[1]["ratio"]))
    sentence = (
        f"a run of {size} row{'s' if size != '1' else ''} takes {worst['candidate_ms']:g} ms of processor time, "
        f"{worst['ratio']:.2f} times the active version's {worst['active_ms']:g} ms "
        f"(95 % between {worst['low']:.2f} and {worst['high']:.2f})"
    )
    evidence = {"max_ratio": limit, "ratio": worst["ratio"], "rows": found}
    if _over(size, worst, limit):
        return failed("performance", "too_slow", f"{sentence}, over the limit of {limit:g}", evidence)
    within = f"within the limit of {limit:g}" if worst["ratio"] <= limit else "a difference too small to count"
    return GateResult("performance", "passed", f"{sentence}, {within}", evidence)
