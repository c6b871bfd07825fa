"""What was normal: latency and errors of the last hour in slices of ten seconds, by median and spread. Pure.

An anomaly is a slice that lies far outside: its robust z-score, the distance from the median in units of the median
absolute deviation (Iglewicz and Hoaglin, 1993), is over a limit. Latency is looked at by its logarithm. Where the past
was steadier than chance allows, the spread that chance alone makes stands in.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from changeover.controller.alarms.latency import LEAST, SHARE
from changeover.controller.pulse import Beat

SLICE: Final = 10
"""Seconds of a slice."""
_KEPT: Final = 360
_LEAST_SLICES: Final = 6
"""A minute, before anything counts as normal; an anomaly needs five."""
_LEAST_FOR_ANOMALY: Final = 30
_NORMAL: Final = 1.4826
"""Makes of a median absolute deviation what is the standard deviation of a normal distribution."""
_STEADY: Final = 0.05
"""Of the logarithm of a latency: five per cent more or less are no news."""
_LEAST_FAILURES: Final = 3
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slice:
    """Ten seconds: the 95th percentile, and of how many requests how many failed."""

    p95_s: float
    asked: int
    failures: int

    @property
    def error_share(self) -> float:
        """Of what was asked."""
        return self.failures / self.asked


def slice_of(beat: Beat) -> Slice | None:
    """What is kept of ten seconds, None of too few answers."""
    p95 = beat.quantile(SHARE)
    return Slice(p95, beat.asked, beat.failures) if p95 is not None and beat.requests >= LEAST else None


class Past:
    """The slices of one loading, or of one model."""

    def __init__(self) -> None:
        self._slices: deque[Slice] = deque(maxlen=_KEPT)
        self.p95_s: float | None = None
        """What is normal; None as long as too little is known."""

    def add(self, new: Slice) -> None:
        """Ten more seconds are over."""
        self._slices.append(new)
        if len(self._slices) >= _LEAST_SLICES:
            self.p95_s = _median(np.array([one.p95_s for one in self._slices]))

    def latency_score(self, new: Slice) -> float | None:
        """How far a slice is above the normal latency, None as long as too little is known."""
        if len(self._slices) < _LEAST_FOR_ANOMALY:
            return None
        return _score(math.log(new.p95_s), np.log([one.p95_s for one in self._slices]), _STEADY)

    def error_score(self, new: Slice) -> float | None:
        """The same of the share of failures."""
        if len(self._slices) < _LEAST_FOR_ANOMALY:
            return None
        if new.failures < _LEAST_FAILURES:
            return 0.0
        shares = np.array([one.error_share for one in self._slices])
        usual = max(_median(shares), 1 / new.asked)
        return _score(new.error_share, shares, math.sqrt(usual / new.asked))


def _score(value: float, past: _Numbers, least: float) -> float:
    middle = _median(past)
    spread = _NORMAL * _median(np.abs(past - middle))
    return (value - middle) / max(spread, least)


def _median(numbers: _Numbers) -> float:
    """As `statistics.median`, of some hundreds in microseconds."""
    rising, half = np.sort(numbers), len(numbers) // 2
    return float(rising[half] if len(numbers) % 2 else (rising[half - 1] + rising[half]) / 2)
