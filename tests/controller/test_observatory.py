"""What the gateways counted, read as windows."""

from __future__ import annotations

import tracemalloc
from time import monotonic_ns

import numpy as np
import pytest

from changeover.controller.observatory import Observatory
from changeover.telemetry.observations import BUCKETS, Counter, bucket
from changeover.transport.reports import Observations, Observed, Paired, Tallied

SECOND = 10**9


class Gateway:
    """Counts requests of one loading and reports."""

    def __init__(self, number: int, observatory: Observatory, loading: int = 1) -> None:
        self.number = number
        self.loading = loading
        self.counter = Counter()
        self._observatory = observatory

    def report(self, at_ns: int, *latencies: float, failed: int = 0, shed: int = 0) -> None:
        """Count, and tell the whole."""
        for latency in latencies:
            self.counter.answered(latency)
        self.counter.failed += failed
        self.counter.shed += shed
        seen = Observed(
            self.loading, "m", self.counter.requests, self.counter.failed, self.counter.shed, self.counter.sparse()
        )
        self._observatory.record(self.number, Observations(at_ns, [seen]))


@pytest.fixture
def start() -> int:
    """A moment of the monotonic clock."""
    return monotonic_ns()


def test_a_window_holds_what_came_inside_it(start: int) -> None:
    """Not what came before, not what came after."""
    observatory = Observatory()
    gateway = Gateway(1, observatory)
    gateway.report(start, 1.0, 1.0)
    gateway.report(start + SECOND, 0.002, 0.002, 0.004)
    gateway.report(start + 2 * SECOND, 5.0)
    window = observatory.window("m", start, start + SECOND)
    assert (window.requests, window.window_s) == (3, 1.0)
    assert window.p50_ms == pytest.approx(2.0, rel=0.02)
    assert window.p99_ms == pytest.approx(4.0, rel=0.02)


def test_a_repeated_report_changes_nothing(start: int) -> None:
    """Counts are cumulative."""
    observatory = Observatory()
    gateway = Gateway(1, observatory)
    gateway.report(start, 0.1, failed=1, shed=2)
    gateway.report(start)
    counts = observatory.requests("m", start - SECOND, start + SECOND)
    assert (counts.total, counts.failed, counts.shed) == (2, 1, 2)


def test_gateways_and_loadings_are_added(start: int) -> None:
    """Each with its own zero; another model's do not count."""
    observatory = Observatory()
    for number, loading in ((1, 1), (2, 1), (2, 9)):
        Gateway(number, observatory, loading).report(start, 0.1, 0.2)
    assert observatory.requests("m", start - SECOND, start + SECOND).total == 6
    assert observatory.requests("other", start - SECOND, start + SECOND).total == 0


def test_the_last_report_of_a_dead_gateway_still_counts(start: int) -> None:
    """What it answered was answered."""
    observatory = Observatory()
    Gateway(1, observatory).report(start, 0.1)
    observatory.gateway_died(1)
    assert observatory.requests("m", start - SECOND, start + SECOND).total == 1


def test_nothing_has_no_percentiles(start: int) -> None:
    """An empty window says so."""
    window = Observatory().window("m", start, start + SECOND)
    assert (window.requests, window.p50_ms, window.p99_ms) == (0, None, None)


def test_what_has_ended_is_forgotten_in_time(start: int) -> None:
    """A thousand released loadings leave nothing behind; an idle one that lives keeps its zero."""
    observatory = Observatory()
    idle = Gateway(1, observatory, 5000)
    idle.report(start, 0.1)
    for loading in range(1000):
        Gateway(1, observatory, loading).report(start + loading * SECOND, 0.1)
        observatory.forget(loading)
    assert len(observatory._series) < 200
    later = start + 1000 * SECOND
    idle.report(later, 0.1)
    assert observatory.requests("m", later - SECOND, later + SECOND).total == 1


def test_a_late_report_brings_no_released_loading_back(start: int) -> None:
    """Its last requests count in the windows; series, totals and evidence that nobody would drop again stay away."""
    observatory = Observatory()
    gone = Gateway(1, observatory, 7)
    gone.report(start, 0.1)
    observatory.pulse.tick(1.0)
    observatory.forget(7)
    observatory.forget(8)  # nothing was ever told of it
    Gateway(1, observatory, 9).report(start + 3 * SECOND, 0.1)
    for loading in (7, 8):
        seen = Observed(loading, "m", 2, 0, 0, {bucket(0.1): 2})
        tallied, paired = Tallied(loading, 1, 1, 2, 0, 0, 0, {}, {}), Paired(loading, 1, 2, 0, 0, 0, {})
        observatory.record(1, Observations(start + 4 * SECOND, [seen], [tallied], [paired]))
    observatory.pulse.tick(1.0)
    assert observatory.pulse.recent.keys() == {9}
    read = observatory.totals.read()
    assert ({loading for loading, _ in read.spans}, read.mirrored) == ({9}, {})
    assert not observatory.evidence._arms
    assert not observatory.evidence._mirrors
    assert observatory.traffic(7, start, start + 4 * SECOND).requests == 1


def test_what_was_released_is_remembered_no_longer_than_its_reports(start: int) -> None:
    """A number costs something too."""
    observatory = Observatory()
    for loading in range(100):
        observatory.forget(loading)
    Gateway(1, observatory, 200).report(start + 400 * SECOND, 0.1)
    assert not observatory._ended


def test_long_observation_takes_bounded_room(start: int) -> None:
    """Ten minutes of reports are thinned, and the last seconds stay exact."""
    observatory = Observatory()
    gateway = Gateway(1, observatory)
    for number in range(2400):
        gateway.report(start + number * SECOND // 4, 0.1)
    end = start + 2400 * SECOND // 4
    series = next(iter(observatory._series.values()))
    assert len(series.old) + len(series.recent) < 200
    assert observatory.requests("m", end - 4 * SECOND, end).total == 15


def test_what_was_counted_for_the_last_controller_does_not_count_again(start: int) -> None:
    """A gateway and a loading that lived before this term begin at what they tell first; a new loading begins at 0."""
    observatory = Observatory()
    observatory.inherit([1], {1: 5})
    old, new, joined = (Gateway(n, observatory, loading) for n, loading in ((1, 1), (1, 2), (2, 1)))
    old.counter.failed = 7
    old.report(start, *[0.1] * 100, shed=5)
    assert observatory.requests("m", start - SECOND, start + SECOND).total == 0
    assert observatory.window("m", start - SECOND, start + SECOND).requests == 0
    for gateway in (old, new, joined):
        gateway.report(start + SECOND, 0.1, 0.1)
    counts = observatory.requests("m", start - SECOND, start + SECOND)
    assert (counts.total, counts.failed, counts.shed) == (6, 0, 0)
    assert observatory.window("m", start - SECOND, start + SECOND).requests == 6


def test_a_lost_report_is_made_up_by_the_next(start: int) -> None:
    """Counts are those since the gateway's start, so nothing is missing in a later window's sum."""
    observatory = Observatory()
    gateway = Gateway(1, observatory)
    gateway.report(start, 0.1)
    gateway.counter.answered(0.1)  # counted, and its report never came
    gateway.report(start + 2 * SECOND, 0.1)
    assert observatory.requests("m", start, start + 2 * SECOND).total == 2
    assert observatory.requests("m", start - SECOND, start + 2 * SECOND).total == 3


def test_old_reports_are_thinned_and_nothing_is_miscounted(start: int) -> None:
    """Three minutes at four reports a second: few are kept, and windows far back are right to two seconds."""
    observatory = Observatory()
    gateway = Gateway(1, observatory)
    for tick in range(4 * 180):
        gateway.report(start + tick * SECOND // 4, 0.01)
    end = start + 180 * SECOND
    assert observatory.requests("m", start, end).total == 4 * 180 - 1
    far = observatory.requests("m", start + 60 * SECOND, start + 70 * SECOND).total
    assert abs(far - 40) <= 2 * 8
    near = observatory.requests("m", end - 9 * SECOND, end - 5 * SECOND).total
    assert near == 16
    kept = sum(len(series.old) + len(series.recent) for series in observatory._series.values())
    assert kept < 200


def test_what_has_ended_is_thinned_without_reports_of_its_own(start: int) -> None:
    """A loading that served for a second leaves a few points behind, not one a report."""
    observatory = Observatory()
    short, long = Gateway(1, observatory, loading=1), Gateway(1, observatory, loading=2)
    for i in range(8):
        short.report(start + i * SECOND // 4, 0.001)
    observatory.forget(1)
    kept = observatory._series[1, 1]
    for i in range(10):
        long.report(start + 20 * SECOND + i * SECOND, 0.001)
    assert len(kept.old) + len(kept.recent) <= 3
    assert observatory.requests("m", start - SECOND, start + 60 * SECOND).total == 18


def test_what_is_kept_is_packed(start: int) -> None:
    """A thousand reports of full histograms, as changeovers without a pause leave behind, take less than 6 MB."""
    observatory = Observatory()
    tracemalloc.start()
    try:
        for loading in range(1000):
            latency = {bucket: 300 + bucket + loading for bucket in range(200)}
            seen = Observed(loading, "m", 60_000, 0, 0, latency)
            observatory.record(1, Observations(start + loading * SECOND // 10, [seen]))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 6_000_000
    assert observatory.window("m", start - SECOND, start + 50 * SECOND).requests > 0


def ran(observatory: Observatory, gateway: int, at_ns: int, busy_ns: int, loading: int = 1) -> None:
    """A gateway tells for how long the worker ran its batches, on two runners."""
    seen = Observed(loading, "m", busy_ns, 0, 0, {}, busy_ns=busy_ns, instances=2)
    observatory.record(gateway, Observations(at_ns, [seen]))


def test_the_traffic_of_one_loading(start: int) -> None:
    """At all gateways, failures among the requests; what came before does not count, nor what others answered."""
    observatory = Observatory()
    here, there, other = Gateway(1, observatory), Gateway(2, observatory), Gateway(1, observatory, loading=2)
    here.report(start, 0.01)
    other.report(start, 0.01)
    here.report(start + SECOND, 0.002, 0.002, failed=2)
    there.report(start + SECOND, 0.002)
    found = observatory.traffic(1, start, start + SECOND)
    assert (found.requests, found.failures, sum(found.latency.values())) == (5, 2, 3)
    assert observatory.traffic(1, 0, start + 2 * SECOND).requests == 6
    assert observatory.traffic(3, 0, start + SECOND).requests == 0


def test_traffic_of_long_ago_is_not_taken_for_new(start: int) -> None:
    """Three minutes are known: an older beginning is moved there."""
    observatory = Observatory()
    gateway = Gateway(1, observatory)
    for second in range(0, 400, 2):
        gateway.report(start + second * SECOND, 0.002)
    found = observatory.traffic(1, start, start + 400 * SECOND)
    assert 85 <= found.requests <= 95


def test_utilisation_is_the_share_of_time_in_which_the_runners_ran(start: int) -> None:
    """All gateways together, per runner; another loading's does not count."""
    observatory = Observatory()
    for tick in range(9):
        at = start + tick * SECOND // 4
        ran(observatory, 1, at, tick * SECOND // 4)
        ran(observatory, 2, at, tick * SECOND // 8)
        ran(observatory, 2, at, tick * SECOND, loading=9)
    assert observatory.busy(1, start, start + 2 * SECOND) == pytest.approx(0.75)
    assert observatory.busy(9, start, start + 2 * SECOND) == 1.0
    assert observatory.busy(7, start, start + 2 * SECOND) == 0.0


def test_utilisation_falls_when_nothing_is_told(start: int) -> None:
    """A burst at the window's begin is no busy window, and before it nothing was busy either."""
    observatory = Observatory()
    ran(observatory, 1, start, 0)
    ran(observatory, 1, start + SECOND // 4, SECOND // 4)
    assert observatory.busy(1, start, start + 2 * SECOND) == pytest.approx(0.0625)
    assert observatory.busy(1, start + SECOND, start + 2 * SECOND) == 0.0
    assert observatory.busy(1, 0, start + 100 * SECOND) == 0.0


def test_the_last_seconds_are_those_of_the_busy(start: int) -> None:
    """What each gateway counted in them; a loading that told nothing since is left out."""
    observatory = Observatory()
    one, two, idle = (Gateway(n, observatory, loading) for n, loading in ((1, 7), (2, 7), (3, 8)))
    idle.report(start, 0.1)
    one.report(start, 0.1)
    for gateway in (one, two):
        gateway.report(start + 20 * SECOND, 0.2, 0.2)
    found = observatory.recent(start + SECOND)
    assert found.keys() == {7}
    counts = np.zeros(BUCKETS, np.int64)
    for spread in found[7]:
        spread.count(counts)
    assert (int(counts.sum()), int(counts[bucket(0.2)])) == (4, 4)
