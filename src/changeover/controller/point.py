"""A gateway's report on one loading, packed: thousands of them are kept for a model that changes over all the time."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import msgspec

from changeover.telemetry.observations import difference
from changeover.transport.reports import Observed, OverGrpc

_NO_GRPC = OverGrpc({}, 0.0, 0)


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

    @property
    def grpc(self) -> OverGrpc:
        """What came over gRPC."""
        if self.over_grpc is None:
            return _NO_GRPC
        buckets, counts, seconds, shed = self.over_grpc
        return OverGrpc(_read(buckets, counts), seconds, shed)


@dataclass(frozen=True, slots=True)
class Spread:
    """Two reports of one gateway about one loading."""

    before: Point | None
    after: Point

    def latency(self) -> dict[int, int]:
        """What was counted between them."""
        return difference(self.after.latency, self.before.latency if self.before else {})


def _packed(histogram: dict[int, int]) -> tuple[bytes, bytes]:
    return array("H", histogram.keys()).tobytes(), array("Q", histogram.values()).tobytes()


def _read(buckets: bytes, counts: bytes) -> dict[int, int]:
    return dict(zip(array("H", buckets), array("Q", counts), strict=True))
