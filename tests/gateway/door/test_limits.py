"""Limits."""

from __future__ import annotations

from changeover.gateway.door.limits import KIB, MIB, Limits


def test_times_grow_with_size() -> None:
    """A body and an answer have their base time and the time of their bytes at the slowest rate."""
    limits = Limits(body_seconds=10.0, write_seconds=20.0, byte_rate=256 * KIB)
    assert limits.body_time(0) == 10.0
    assert limits.body_time(MIB) == 14.0
    assert limits.write_time(MIB) == 24.0


def test_one_body_of_the_largest_size_fits_the_budget() -> None:
    """With the defaults the largest body fits into the share of large ones."""
    limits = Limits()
    assert limits.body_bytes <= limits.gateway_bytes * 3 // 4
