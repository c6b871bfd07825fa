"""Slower by more than chance: right for few and many answers, of any distribution."""

from __future__ import annotations

import random

import pytest

from changeover.controller.alarms.latency import enough, limit_over, slower, slower_than
from changeover.controller.pulse import Beat
from changeover.telemetry.observations import bucket


def beat(seconds: list[float]) -> Beat:
    """A second with answers of these latencies."""
    latency: dict[int, int] = {}
    for one in seconds:
        number = bucket(one)
        latency[number] = latency.get(number, 0) + 1
    return Beat(1.0, len(seconds), latency=latency)


def heavy(chance: random.Random, number: int, factor: float = 1.0) -> Beat:
    """Answers with a heavy tail."""
    return beat([0.005 * factor * chance.lognormvariate(0, 0.8) for _ in range(number)])


@pytest.mark.parametrize(("rate", "factor"), [(25, 8.0), (100, 4.0), (1000, 2.5)])
def test_slower_is_seen_and_equal_is_not(rate: int, factor: float) -> None:
    """The fewer answers, and the heavier their tail, the more it takes; equal ones are never bad three times in a row.

    The half that is allowed is no alarm either.
    """
    chance = random.Random(rate)
    streak = longest = 0
    for _ in range(1000):
        bad, _, _ = slower([heavy(chance, rate)], [heavy(chance, rate)], 0.5)
        streak = streak + 1 if bad else 0
        longest = max(longest, streak)
    assert longest < 3
    seen = [slower([heavy(chance, rate, factor)], [heavy(chance, rate)], 0.5)[0] for _ in range(100)]
    assert sum(map(bool, seen)) >= 90
    normal = [beat([0.005] * rate)]
    assert slower([beat([0.0074] * rate)], normal, 0.5)[0] is False
    assert slower([beat([0.0078] * rate)], normal, 0.5)[0] is True


def test_too_few_answers_say_nothing() -> None:
    """Not yes and not no; more seconds are looked at first."""
    one, many = [beat([0.01])] * 5, [beat([0.001] * 100)] * 5
    assert slower(one, many, 0.5)[0] is None
    assert slower([beat([0.01] * 4)] * 6, many, 0.5)[0] is True
    assert enough(many, [beat([0.01] * 4)] * 6) is not None
    assert slower([], [], 0.5)[0] is None


def test_against_the_past() -> None:
    """The same question with a number that is known."""
    assert slower_than([beat([0.010] * 50)], 0.005, 0.5)[0] is True
    assert slower_than([beat([0.006] * 50)], 0.005, 0.5)[0] is False
    assert slower_than([beat([0.005] * 48 + [1.0, 1.0])], 0.005, 0.5)[0] is False  # a twentieth may be slow
    assert slower_than([beat([])], 0.005, 0.5)[0] is None


def test_a_millisecond_is_no_alarm() -> None:
    """Half of next to nothing is nothing."""
    assert limit_over(0.0004, 0.5) == pytest.approx(0.0014)
    assert limit_over(0.010, 0.5) == pytest.approx(0.015)
