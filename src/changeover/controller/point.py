"""A gateway's report on one loading, packed: thousands of them are kept for a model that changes over all the time."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from changeover.telemetry.observations import difference
from changeover.transport.reports import Observed, OverGrpc

_NO_GRPC = OverGrpc({}, 0.0, 0)
Counts = npt.NDArray[np.int64]
"""A histogram by bucket."""


@dataclass(frozen=True, slots=True)
class Point:
    """A report.

    Attributes:
        at_ns: CLOCK_MONOTONIC.
        seen: the report without its histograms.
        buckets: numbers of the histogram's buckets, two bytes each.
        counts: what is in them, eight bytes each.
        over_grpc: the same two of what came over gRPC, with its seconds and how many were shed.
    """

    at_ns: int
    seen: Observed
    buckets: bytes
    counts: bytes
    over_grpc: tuple[bytes, bytes, float, int] | None = None

    @classmethod
    def of(cls, at_ns: int, seen: Observed) -> Point:
        """Pack a report."""
        grpc = None if seen.grpc is None else (*_packed(seen.grpc.latency), seen.grpc.seconds, seen.grpc.shed)
        return cls(at_ns, msgspec.structs.replace(seen, latency={}, grpc=None), *_packed(seen.latency), grpc)

    @property
    def latency(self) -> dict[int, int]:
        """The histogram."""
        return _read(self.buckets, self.counts)

    def latency_since(self, before: Point) -> dict[int, int]:
        """What of the histogram is new since an earlier report of the same gateway."""
        if before.buckets == self.buckets:  # as ever under load: which buckets there are changes seldom
            numbers = np.frombuffer(self.buckets, np.uint16)
            more = np.frombuffer(self.counts, np.int64) - np.frombuffer(before.counts, np.int64)
            places = np.flatnonzero(more > 0)
            return dict(zip(numbers[places].tolist(), more[places].tolist(), strict=True))
        return difference(self.latency, before.latency)

    @property
    def grpc(self) -> OverGrpc:
        """What came over gRPC."""
        if self.over_grpc is None:
            return _NO_GRPC
        buckets, counts, seconds, shed = self.over_grpc
        return OverGrpc(_read(buckets, counts), seconds, shed)

    def count(self, counts: Counts, sign: int = 1) -> None:
        """Add the histogram to counts by bucket, or take it away."""
        _count(counts, self.buckets, self.counts, sign)

    def count_grpc(self, counts: Counts, sign: int = 1) -> None:
        """The same of what came over gRPC."""
        if self.over_grpc is not None:
            _count(counts, *self.over_grpc[:2], sign)


@dataclass(frozen=True, slots=True)
class Spread:
    """Two reports of one gateway about one loading."""

    before: Point | None
    after: Point

    def count(self, counts: Counts) -> None:
        """Add what was counted between them to counts by bucket."""
        self.after.count(counts)
        if self.before is not None:
            self.before.count(counts, -1)


def _count(total: Counts, buckets: bytes, counts: bytes, sign: int) -> None:
    total[np.frombuffer(buckets, np.uint16)] += sign * np.frombuffer(counts, np.int64)


def _packed(histogram: dict[int, int]) -> tuple[bytes, bytes]:
    return array("H", histogram.keys()).tobytes(), array("Q", histogram.values()).tobytes()


def _read(buckets: bytes, counts: bytes) -> dict[int, int]:
    return dict(zip(array("H", buckets), array("Q", counts), strict=True))
