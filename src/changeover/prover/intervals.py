"""Confidence intervals of what a gate measures on a sample: two-sided, 95 %.

Shares: Clopper-Pearson, which holds for every true share and sample size (Clopper and Pearson, 1934). Means of scores:
bootstrap percentiles with a fixed seed. Medians: order statistics, which assume nothing of the distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_LEVEL: Final = 0.95
_HALVINGS: Final = 60
_RESAMPLES: Final = 1000
_AT_ONCE: Final = 1 << 22
_SEED: Final = 17

Interval = tuple[float, float]


def share(hits: int, count: int) -> Interval:
    """Clopper-Pearson for `hits` of `count`; nothing is known of none."""
    if not count:
        return 0.0, 1.0
    tail = (1 - _LEVEL) / 2
    low = 0.0 if hits == 0 else _root(lambda p: at_least(hits, count, p) - tail)
    high = 1.0 if hits == count else _root(lambda p: tail - (1 - at_least(hits + 1, count, p)))
    return low, high


def mean(scores: npt.NDArray[Any]) -> Interval:
    """Bootstrap percentiles for the mean of scores."""
    if not len(scores):
        return -math.inf, math.inf
    generator, count = np.random.default_rng(_SEED), len(scores)
    part = max(1, min(_RESAMPLES, _AT_ONCE // count))
    means = [scores[generator.integers(0, count, (part, count))].mean(axis=1) for _ in range(0, _RESAMPLES, part)]
    low, high = np.quantile(np.concatenate(means), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def median(values: Sequence[float]) -> Interval:
    """The order statistics that hold the median with at least 95 %; the whole range for fewer than six values."""
    ordered, count = sorted(values), len(values)
    if not count:
        return -math.inf, math.inf
    rank = 0
    while rank + 1 < count / 2 and 1 - 2 * (1 - at_least(rank + 2, count, 0.5)) >= _LEVEL:
        rank += 1
    return ordered[rank], ordered[count - 1 - rank]


def at_least(hits: int, count: int, p: float) -> float:
    """Probability of at least so many hits in `count` trials of probability `p`."""
    if hits <= 0:
        return 1.0
    if p <= 0.0 or p >= 1.0:
        return float(p >= 1.0)
    ks = np.arange(hits, count + 1, dtype=np.float64)
    logs = _log_choose(count, hits) + ks * math.log(p) + (count - ks) * math.log1p(-p)
    return float(min(np.exp(logs).sum(), 1.0))


def _log_choose(count: int, first: int) -> npt.NDArray[np.float64]:
    """Logarithms of `count` over k for k from `first` on."""
    start = math.lgamma(count + 1) - math.lgamma(first + 1) - math.lgamma(count - first + 1)
    ks = np.arange(first, count, dtype=np.float64)
    steps = np.log(count - ks) - np.log(ks + 1)
    return np.concatenate(([start], start + np.cumsum(steps)))


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function of [0, 1] crosses 0."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
