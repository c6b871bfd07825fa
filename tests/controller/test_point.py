"""A packed report is the report."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.controller.point import Point, Spread
from changeover.telemetry.observations import BUCKETS, difference
from changeover.transport.reports import Observed, OverGrpc


def test_what_is_packed_can_be_read() -> None:
    """Counts and histogram, in a few bytes a bucket."""
    latency = {3: 1, 1023: 1 << 40}
    point = Point.of(7, Observed(1, "m", 5, 1, 2, latency))
    assert (point.at_ns, point.seen.requests, point.latency) == (7, 5, latency)
    assert len(point.buckets) + len(point.counts) == 20


def test_what_came_over_grpc_is_packed_too() -> None:
    """With its seconds, and how many were shed; nothing where nothing came."""
    part = OverGrpc({5: 2}, 0.5, 3)
    assert Point.of(7, Observed(1, "m", 5, 1, 2, {3: 1, 5: 2}, grpc=part)).grpc == part
    assert Point.of(7, Observed(1, "m", 5, 1, 2, {3: 1})).grpc == OverGrpc({}, 0.0, 0)


def test_what_lies_between_two_reports_is_their_difference() -> None:
    """All of the later one where there is no earlier."""
    one, two = (Point.of(at, Observed(1, "m", 5, 1, 2, latency)) for at, latency in ((1, {3: 1}), (2, {3: 1, 4: 6})))
    for before, found in ((one, {4: 6}), (None, {3: 1, 4: 6})):
        counts = np.zeros(BUCKETS, np.int64)
        Spread(before, two).count(counts)
        assert {int(n): int(counts[n]) for n in np.flatnonzero(counts)} == found


@pytest.mark.parametrize("later", [{400: 3, 401: 9, 500: 1}, {400: 3, 401: 9, 450: 2, 500: 2}])
def test_what_is_new_since_an_earlier_report(later: dict[int, int]) -> None:
    """Whether it has the same buckets or more of them."""
    before, after = (Point.of(1, Observed(1, "m", 0, 0, 0, told)) for told in ({400: 3, 401: 5, 500: 1}, later))
    assert after.latency_since(before) == difference(after.latency, before.latency) != {}
