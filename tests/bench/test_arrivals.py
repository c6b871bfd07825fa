"""When requests are due."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.bench.arrivals import Arrivals
from changeover.bench.spec import LoadSpec

X = {"x": np.ones((1, 1), np.float32)}


def drain(arrivals: Arrivals, now: float) -> list[float]:
    """Take all that is due by `now`."""
    found = []
    while (due := arrivals.take(now)) is not None:
        found.append(due)
    return found


def test_open_loop_is_due_at_its_rate() -> None:
    """At 10/s for one second ten requests are due, however late they are asked for."""
    arrivals = Arrivals(LoadSpec("m", X, rate=10.0, duration_s=0.99), 100.0)
    assert drain(arrivals, 100.0) == [100.0]
    assert arrivals.due == pytest.approx(100.1)
    assert drain(arrivals, 200.0) == pytest.approx([100.1 + i / 10 for i in range(9)])
    assert arrivals.done


def test_closed_loop_is_due_when_a_caller_is_free() -> None:
    """A closed loop's request is due the moment it is asked for, up to the bound."""
    arrivals = Arrivals(LoadSpec("m", X, mode="closed", requests=2, duration_s=9.0), 1.0)
    assert [arrivals.take(2.5), arrivals.take(3.5), arrivals.take(3.6)] == [2.5, 3.5, None]
    assert arrivals.done


def test_stop_keeps_what_was_due_before() -> None:
    """After a stop nothing new is due, but what is overdue is still handed out."""
    arrivals = Arrivals(LoadSpec("m", X, rate=10.0, duration_s=60.0), 0.0)
    arrivals.stop(0.25)
    assert drain(arrivals, 5.0) == pytest.approx([0.0, 0.1, 0.2])
    assert arrivals.done


def test_another_pace() -> None:
    """A rate holds from the next request on; one that would have been due much later comes at the new pace."""
    arrivals = Arrivals(LoadSpec("m", X, rate=1.0, duration_s=60.0), 0.0)
    assert drain(arrivals, 0.0) == [0.0]
    arrivals.pace(100.0, 0.2)
    assert drain(arrivals, 0.235) == pytest.approx([0.21, 0.22, 0.23])
    arrivals.pace(0.5, 0.235)
    assert drain(arrivals, 5.0) == pytest.approx([0.24, 2.24, 4.24])


def test_what_is_overdue_at_another_pace_stays_due() -> None:
    """The next request has not become later by a slower rate; after a stop nothing is due at any rate."""
    arrivals = Arrivals(LoadSpec("m", X, rate=10.0, duration_s=60.0), 0.0)
    arrivals.pace(2.0, 0.25)
    assert drain(arrivals, 0.7) == pytest.approx([0.0, 0.5])
    arrivals.stop(0.7)
    assert drain(arrivals, 9.0) == []
    arrivals.pace(1000.0, 9.0)
    assert drain(arrivals, 10.0) == []
    assert arrivals.done


def test_callers_have_no_pace() -> None:
    """In a closed loop a request is due when a caller is free, whatever rate is told."""
    arrivals = Arrivals(LoadSpec("m", X, mode="closed", requests=2, duration_s=9.0), 1.0)
    arrivals.pace(0.1, 1.0)
    assert [arrivals.take(2.5), arrivals.take(2.6)] == [2.5, 2.6]


def test_seed_fixes_poisson_arrivals() -> None:
    """The same seed gives the same times, another seed others."""

    def times(seed: int) -> list[float]:
        return drain(Arrivals(LoadSpec("m", X, rate=50.0, arrivals="poisson", seed=seed, duration_s=2.0), 0.0), 2.0)

    assert times(1) == times(1)
    assert times(1) != times(2)
