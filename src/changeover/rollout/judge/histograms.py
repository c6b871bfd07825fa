"""Histograms in the buckets of `telemetry.observations`, as arrays that fade and are cut at a place. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from changeover.telemetry.observations import BUCKETS, PER_DOUBLING, edge

SCALE: Final = PER_DOUBLING / math.log(2)
"""Buckets to a factor of e."""
_LOWEST: Final = edge(0)
_EXACT: Final = 1e-9
"""A value this near to a bucket's edge, in buckets, stands on it."""


def place_above(seconds: float) -> int:
    """The first bucket that holds nothing below a value."""
    return max(0, math.ceil(math.log2(max(seconds, _LOWEST) / _LOWEST) * PER_DOUBLING - _EXACT))


def tails(counts: Mapping[int, int], places: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Counts of a sparse histogram in each of these buckets and above it."""
    numbers = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
    values = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
    return np.asarray((numbers >= places[:, None]) @ values, dtype=np.float64)


class Histogram:
    """Counts by bucket, not necessarily whole ones."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts = np.zeros(BUCKETS)
        self._total: float | None = None
        """Of all counts, as long as none has changed."""

    @classmethod
    def of(cls, memory: Mapping[str, float]) -> Histogram:
        """From `memory()`."""
        histogram = cls()
        for number, count in memory.items():
            histogram._counts[int(number)] = count
        return histogram

    def add(self, counts: Mapping[int, int]) -> None:
        """Add a sparse histogram; what lies beyond the last bucket goes into it."""
        numbers = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
        values = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
        self._total = None
        np.add.at(self._counts, np.minimum(np.maximum(numbers, 0), BUCKETS - 1), values)

    def fade(self, share: float) -> None:
        """Keep a share of every count."""
        self._total = None
        self._counts *= share

    @property
    def total(self) -> float:
        """All counts."""
        if self._total is None:
            self._total = float(self._counts.sum())
        return self._total

    def above(self, place: int) -> float:
        """Counts in this bucket and in those above."""
        return float(self._counts[max(place, 0) :].sum())

    def quantile_place(self, share: float) -> int:
        """The bucket of a quantile: with it, at least that share of the counts is reached; 0 without counts."""
        reached = np.cumsum(self._counts)
        return int(np.searchsorted(reached, reached[-1] * share - 1e-9)) if reached[-1] > 0 else 0

    def memory(self) -> dict[str, Any]:
        """As JSON: counts by bucket."""
        return {str(number): float(self._counts[number]) for number in np.flatnonzero(self._counts)}
