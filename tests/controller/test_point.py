"""A packed report is the report."""

from __future__ import annotations

from changeover.controller.point import Point
from changeover.transport.reports import Observed


def test_what_is_packed_can_be_read() -> None:
    """Counts and histogram, in a few bytes a bucket."""
    latency = {3: 1, 1023: 1 << 40}
    point = Point.of(7, Observed(1, "m", 5, 1, 2, latency))
    assert (point.at_ns, point.seen.requests, point.latency) == (7, 5, latency)
    assert len(point.buckets) + len(point.counts) == 20
