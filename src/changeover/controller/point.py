"""A gateway's report on one loading, packed: thousands of them are kept for a model that changes over all the time."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import msgspec

from changeover.transport.reports import Observed


@dataclass(frozen=True, slots=True)
class Point:
    """A report.

    Attributes:
        at_ns: CLOCK_MONOTONIC.
        seen: the report without its histogram.
        buckets: numbers of the histogram's buckets, two bytes each.
        counts: what is in them, eight bytes each.
    """

    at_ns: int
    seen: Observed
    buckets: bytes
    counts: bytes

    @classmethod
    def of(cls, at_ns: int, seen: Observed) -> Point:
        """Pack a report."""
        buckets, counts = array("H", seen.latency.keys()), array("Q", seen.latency.values())
        return cls(at_ns, msgspec.structs.replace(seen, latency={}), buckets.tobytes(), counts.tobytes())

    @property
    def latency(self) -> dict[int, int]:
        """The histogram."""
        return dict(zip(array("H", self.buckets), array("Q", self.counts), strict=True))
