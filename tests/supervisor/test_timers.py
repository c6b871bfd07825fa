"""Calls that are made later, in order."""

from __future__ import annotations

from changeover.supervisor.timers import Timers


def test_calls_are_made_when_their_time_has_come() -> None:
    """In the order of their times, and none before."""
    timers, made = Timers(), list[str]()
    assert timers.pause() is None
    timers.later(60.0, lambda: made.append("late"))
    timers.later(0.0, lambda: made.append("first"))
    timers.later(0.0, lambda: made.append("second"))
    assert timers.pause() == 0.0
    timers.run()
    assert made == ["first", "second"]
    pause = timers.pause()
    assert pause is not None
    assert 50.0 < pause <= 60.0


def test_a_call_may_ask_for_another() -> None:
    """As a back-off does."""
    timers, made = Timers(), list[int]()
    timers.later(0.0, lambda: timers.later(0.0, lambda: made.append(1)))
    timers.run()
    assert made == [1]
