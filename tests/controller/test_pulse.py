"""Beats: each request in exactly one second, whoever reports it and however often."""

from __future__ import annotations

import pytest

from changeover.controller.point import Point
from changeover.controller.pulse import DETAILED, KEPT, Beat, Pulse, sum_of
from changeover.transport.reports import Observed

S = 10**9


def told(at_s: float, *counts: int, loading: int = 1, latency: dict[int, int] | None = None) -> Point:
    """A report: requests, failed, shed, shielded so far."""
    requests, failed, shed, shielded = (*counts, 0, 0, 0, 0)[:4]
    spread = {500: requests} if latency is None else latency
    return Point.of(int(at_s * S), Observed(loading, "m", requests, failed, shed, spread, shielded))


def test_a_beat_is_what_is_new() -> None:
    """Of all gateways together; a repeated report adds nothing, an idle second is an empty beat."""
    pulse = Pulse()
    pulse.record(1, told(1.0, 10, 1))
    pulse.record(2, told(1.0, 5))
    pulse.tick(1.0)
    pulse.record(1, told(2.0, 30, 2, 4, 3, latency={500: 10, 510: 20}))
    pulse.record(1, told(2.0, 30, 2, 4, 3, latency={500: 10, 510: 20}))
    pulse.tick(1.0)
    pulse.tick(1.0)
    first, second, third = pulse.recent[1]
    assert (first.requests, first.failed, first.asked) == (15, 1, 16)
    assert second == Beat(1.0, 20, 1, 3, 4, {510: 20})
    assert (second.asked, second.failures) == (24, 4)
    assert second.error_share == pytest.approx(4 / 24)
    assert third == Beat(1.0)
    assert (third.error_share, third.quantile(0.5)) == (0.0, None)


def test_rates_are_by_the_reports_own_times() -> None:
    """A report that comes late makes no second look busier; after a pause the tick is what counts."""
    pulse = Pulse()
    pulse.record(1, told(1.0, 100))
    pulse.tick(1.0)
    pulse.record(1, told(2.25, 225))
    pulse.tick(1.0)
    pulse.record(1, told(9.0, 325))
    pulse.tick(1.0)
    assert [beat.requests / beat.seconds for beat in pulse.recent[1]] == [100.0, 100.0, 100.0]


def test_what_was_before_this_controller_counts_for_nobody() -> None:
    """The first word of a gateway that was there is its zero; that of a new one counts."""
    pulse = Pulse()
    pulse.inherit([1], [1])
    pulse.record(1, told(1.0, 1000, 900))
    pulse.record(2, told(1.0, 3))
    pulse.tick(1.0)
    pulse.record(1, told(2.0, 1007, 900))
    pulse.tick(1.0)
    assert [(beat.requests, beat.failed) for beat in pulse.recent[1]] == [(3, 0), (7, 0)]


def test_the_last_word_of_a_dead_gateway_counts() -> None:
    """Once; then it is forgotten, and so is a loading that was released."""
    pulse = Pulse()
    pulse.record(1, told(1.0, 10))
    pulse.gateway_died(1)
    pulse.tick(1.0)
    pulse.tick(1.0)
    assert [beat.requests for beat in pulse.recent[1]] == [10, 0]
    assert pulse._sources == {}
    pulse.record(2, told(1.0, 10))
    pulse.forget(1)
    pulse.tick(1.0)
    assert pulse.recent == {}
    assert pulse.last(1, 5) == Beat()


def test_some_seconds_together() -> None:
    """Counts and histograms add up; only the last minute is kept."""
    pulse = Pulse()
    for second in range(1, KEPT + 11):
        pulse.record(1, told(second, 10 * second, second))
        pulse.tick(1.0)
    assert len(pulse.recent[1]) == KEPT
    last = pulse.last(1, 3)
    assert (last.seconds, last.requests, last.failed, last.latency) == (3.0, 30, 3, {500: 30})
    assert last == sum_of(list(pulse.recent[1])[-3:])
    assert [bool(beat.latency) for beat in pulse.recent[1]] == [False] * (KEPT - DETAILED) + [True] * DETAILED


def test_what_is_in_flight_is_that_of_all_gateways() -> None:
    """As they told last; nothing of a loading that nobody tells of."""
    pulse = Pulse()
    for gateway in (1, 2):
        pulse.record(gateway, Point.of(S, Observed(1, "m", 0, 0, 0, {}, in_flight=3)))
    pulse.record(2, Point.of(2 * S, Observed(1, "m", 3, 0, 0, {500: 3}, in_flight=1)))
    pulse.tick(1.0)
    assert (pulse.in_flight(1), pulse.in_flight(2)) == (4, 0)
