"""Figures of what was measured, and by how much one setting is better than another, with an interval. Pure.

All figures are such that less is better. A comparison is made of *sittings*: in each both settings run in fresh
processes and take turns, so what the machine does it does to both, and what a process is lucky in (addresses, pages)
counts once.
The interval is Student's for the mean of the logarithms of the sittings' ratios: few and independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Final

import numpy as np

from changeover.workbench.tuning.wish import Objective

_LEVEL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Slice:
    """What was measured in one go.

    Attributes:
        rows: that were run; seconds: that it took; times: of single runs, seconds.
    """

    rows: int
    seconds: float
    times: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Gain:
    """The ratio of two figures, new over old: below 1 is better.

    Attributes:
        low, high: with the confidence that was asked for.
        sittings: that it is made of.
    """

    ratio: float
    low: float
    high: float
    sittings: int

    @property
    def sure(self) -> bool:
        """Whether it is a gain at all."""
        return self.high < 1.0

    @property
    def loss(self) -> bool:
        """Whether it is surely worse."""
        return self.low > 1.0


def figure(objective: Objective, slices: Sequence[Slice]) -> float:
    """Seconds of a run (median, or 99th percentile), or seconds for a row; infinite where nothing was measured.

    Seconds for a row are the median of the slices: one in which the machine did something else counts for nothing.
    """
    if objective == "throughput":
        return float(np.median([one.seconds / one.rows for one in slices])) if slices else math.inf
    times = [one for part in slices for one in part.times]
    return float(np.percentile(times, 99 if objective == "p99" else 50)) if times else math.inf


def compared(pairs: Sequence[tuple[float, float]], among: int = 1) -> Gain:
    """The gain of the first over the second of each pair, one pair a sitting.

    Args:
        pairs: figures (new, old).
        among: how many settings are compared with the same one; each has its share of the doubt.
    """
    logs = [math.log(new / old) for new, old in pairs if new > 0 and old > 0 and math.isfinite(new + old)]
    if len(logs) < 2:
        return Gain(math.exp(logs[0]) if logs else math.nan, 0.0, math.inf, len(logs))
    half = student(1 - (1 - _LEVEL) / 2 / among, len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    middle = fmean(logs)
    return Gain(math.exp(middle), math.exp(middle - half), math.exp(middle + half), len(logs))


def student(p: float, freedom: int) -> float:
    """Quantile of Student's distribution, to about 1 % from 3 degrees of freedom on.

    Exact for 1 and 2; else the expansion about the normal one (Abramowitz and Stegun 26.7.5).
    """
    if freedom == 1:
        return math.tan(math.pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * math.sqrt(2 / (1 - (2 * p - 1) ** 2))
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / math.pow(freedom, at) for at, term in enumerate(terms, start=1))
