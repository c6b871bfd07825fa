"""How many replays there are, and how long a candidate may take."""

from __future__ import annotations

import math

import pytest

from changeover.gateway.budget import Budget, Patience
from changeover.telemetry.observations import Counter


def test_a_budget_is_a_burst_and_a_tenth_of_the_rate() -> None:
    """Twenty at once; after that one for ten requests."""
    budget = Budget()
    for _ in range(20):
        assert not budget.empty
        budget.spend()
    assert budget.empty
    for _ in range(11):
        budget.earn()
    assert not budget.empty


def test_a_quiet_time_earns_no_more_than_the_burst() -> None:
    """However many requests went well before."""
    budget = Budget()
    for _ in range(10_000):
        budget.earn()
    for _ in range(20):
        budget.spend()
    assert budget.empty


def test_what_was_replayed_beyond_the_budget_is_owed() -> None:
    """Requests under way are never refused a replay; the candidate waits the longer."""
    budget = Budget()
    for _ in range(30):
        budget.spend()
    for _ in range(100):
        budget.earn()
    assert budget.empty
    for _ in range(12):
        budget.earn()
    assert not budget.empty


def counted(*latencies: float) -> Counter:
    """A histogram of these."""
    counter = Counter()
    for latency in latencies:
        counter.answered(latency)
    return counter


def test_patience_is_four_times_the_99th_percentile() -> None:
    """One slow answer in a hundred does not count, two do."""
    patience = Patience()
    patience.read(counted(*[0.1] * 990, *[2.0] * 10).counts)
    assert patience.seconds == pytest.approx(0.4, rel=0.03)
    other = Patience()
    other.read(counted(*[0.1] * 980, *[2.0] * 20).counts)
    assert other.seconds == pytest.approx(8.0, rel=0.03)


def test_patience_has_a_least_and_no_end_before_anything_is_known() -> None:
    """A fast model's candidate has 250 ms; after a few answers it has four times the slowest, and a second at least."""
    patience = Patience()
    patience.read(counted().counts)
    assert math.isinf(patience.seconds)
    patience.read(counted(*[0.001] * 19).counts)
    assert patience.seconds == 1.0
    patience.read(counted(0.5, 0.1).counts)
    assert patience.seconds == pytest.approx(2.0, rel=0.03)
    patience.read(counted(*[0.001] * 20).counts)
    assert patience.seconds == 0.25


def test_patience_follows_what_is_new() -> None:
    """Upwards at once, downwards slowly; a few answers move nothing."""
    counter = counted(*[0.1] * 300)
    patience = Patience()
    patience.read(counter.counts)
    for _ in range(50):
        counter.answered(1.0)
    patience.read(counter.counts)
    assert patience.seconds == pytest.approx(0.4, rel=0.03)
    for _ in range(200):
        counter.answered(1.0)
    patience.read(counter.counts)
    assert patience.seconds == pytest.approx(4.0, rel=0.03)
    for _ in range(300):
        counter.answered(0.1)
    patience.read(counter.counts)
    assert patience.seconds == pytest.approx(3.2, rel=0.03)


def test_a_new_histogram_begins_at_nothing() -> None:
    """The next step's is smaller than the last one's, and is read from its own zero."""
    patience = Patience()
    patience.read(counted(*[0.1] * 1000).counts)
    patience.read(counted(*[0.5] * 200).counts)
    assert patience.seconds == pytest.approx(2.0, rel=0.03)
