"""The pace of a loading: measured only where the worker is the limit."""

from __future__ import annotations

import pytest

from changeover.gateway.pace import Pace


def test_nothing_is_expected_before_there_was_a_queue() -> None:
    """Answers at low load say nothing: larger batches may go faster."""
    pace = Pace()
    for second in range(10):
        pace.answered(second, second + 0.5, 1, crowded=False)
    assert (pace.interval, pace.wait(1000)) == (0.0, 0.0)


def test_a_queue_is_worked_off_at_the_pace_of_its_batches() -> None:
    """Batches of eight that wait behind one another and take 40 ms each: 5 ms a request."""
    pace = Pace()
    for number in range(6):
        pace.answered(0.0, 0.04 * (number + 1), 8, crowded=True)
    assert pace.wait(100) == pytest.approx(0.5)


def test_two_runners_halve_the_interval() -> None:
    """Two batches at a time, each 100 ms: an answer every 50 ms is what counts."""
    pace = Pace()
    for number in range(8):
        pace.answered(0.05 * number, 0.05 * number + 0.1, 1, crowded=True)
    assert pace.wait(10) < 0.7


def test_a_pause_of_the_clients_is_no_slowness() -> None:
    """The time in which nothing was handed over does not count."""
    pace = Pace()
    pace.answered(0.0, 0.1, 10, crowded=True)
    pace.answered(50.0, 50.1, 10, crowded=True)
    assert pace.interval == pytest.approx(0.01)


def test_a_change_of_pace_is_followed_within_some_batches() -> None:
    """Ten times slower from one batch to the next: after five the estimate is near, later it is right."""
    pace, now = Pace(), 0.0
    for number in range(100):
        step = 0.01 if number < 80 else 0.1
        pace.answered(now, now + step, 10, crowded=True)
        now += step
        if number == 85:
            assert 0.005 < pace.interval < 0.01
    assert pace.interval == pytest.approx(0.01, rel=0.05)


def test_an_answer_at_low_load_corrects_a_pace_of_bad_times() -> None:
    """No request takes longer than its batch did; a slower answer at low load changes nothing."""
    pace = Pace()
    pace.answered(0.0, 3.5, 10, crowded=True)
    pace.answered(10.0, 10.01, 1, crowded=False)
    assert pace.interval == pytest.approx(0.01)
    pace.answered(20.0, 20.5, 1, crowded=False)
    assert pace.interval == pytest.approx(0.01)
    pace.answered(30.0, 30.1, 10, crowded=True)
    assert pace.interval == pytest.approx(0.01)
