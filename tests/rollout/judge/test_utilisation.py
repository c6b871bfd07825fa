"""Utilisation: growth that would drown the candidate's worker is refused."""

from __future__ import annotations

import pytest

from changeover.rollout.judge.findings import Verdict
from changeover.rollout.judge.utilisation import Load
from tests.rollout.judge.seen import Side, Story


def load(busy: float, weight: int) -> Load:
    """After ten seconds so busy."""
    found, story = Load(), Story(weight=weight, busy=busy)
    for _ in range(10):
        found.observe(story.window(Side(), Side()))
    return found


def test_a_costly_candidate_is_not_grown_into_overload() -> None:
    """Active version at 60 % with 95 % of the traffic, candidate twice as costly: half of it is fine, all is not."""
    found = load(0.6, 500)
    half = found.growth(5_000, 2.0)
    assert (half.verdict, half.estimate) == (Verdict.CLEAR, pytest.approx(0.6 * 2 * 0.5 / 0.95))
    full = found.growth(10_000, 2.0)
    assert full.verdict is Verdict.FAILED
    assert "100 %" in full.detail


def test_an_equal_candidate_is_never_refused() -> None:
    """A model at 95 % of its worker may be replaced by one that costs the same."""
    assert load(0.95, 100).growth(10_000, 1.02).verdict is Verdict.CLEAR


def test_from_half_on_the_candidate_is_the_busier() -> None:
    """Then its own load is what grows."""
    assert load(0.8, 6_000).predicted(9_900, 1.5) == pytest.approx(0.8 * 0.99 / 0.6)


def test_nothing_known_refuses_nothing() -> None:
    """And a new stratum begins anew."""
    found = Load()
    assert found.growth(5_000, 2.0).verdict is Verdict.WAITING
    story = Story(busy=1.0)
    found.observe(story.window(Side(), Side()))
    story.stratum, story.busy = (2, 1, 1), 0.2
    found.observe(story.window(Side(), Side()))
    assert found.predicted(500, 1.0) == pytest.approx(0.2 * 0.05 / 0.95)


def test_a_memory_goes_on() -> None:
    """With the same windows."""
    found = Load()
    found.remember(load(0.5, 500).memory())
    assert found.memory() == load(0.5, 500).memory()
