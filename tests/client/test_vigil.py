"""Waiting for an outcome."""

from __future__ import annotations

import pytest

from changeover.client.vigil import Vigil, pause_after, too_late
from changeover.errors import DeadlineExceeded

STEPS = [
    {"phase": "validating"},
    {"phase": "progressing", "step": {"name": "1%"}},
    {"phase": "progressing", "step": {"name": "1%"}},
    {"phase": "progressing", "step": {"name": "5%"}},
    {"phase": "watching"},
]


def test_each_phase_and_step_is_told_once() -> None:
    """And it is over at the first phase with an outcome."""
    seen: list[object] = []
    vigil = Vigil("r-1", 60.0, seen.append)
    assert [vigil.over(step) for step in STEPS] == [False, False, False, False, True]
    assert seen == [STEPS[0], STEPS[1], STEPS[3], STEPS[4]]


@pytest.mark.parametrize(("phase", "over"), [("succeeded", True), ("rolled_back", True), ("failed", True)])
def test_an_outcome_counts_although_the_time_is_over(phase: str, over: bool) -> None:
    """What is decided is decided."""
    assert Vigil("r-1", 0.0).over({"phase": phase}) is over


def test_a_wait_without_an_outcome_ends_with_its_time() -> None:
    """The sentence has the phase that was seen last, also when nobody answered since."""
    vigil = Vigil("r-1", 60.0)
    vigil.over({"phase": "paused"})
    assert not vigil.over(None)
    with pytest.raises(DeadlineExceeded, match="rollout r-1 is still unknown after 0 s") as caught:
        Vigil("r-1", 0.0).over(None)
    assert caught.value.reason == "wait_timeout"


def test_waiting_looks_often_at_first() -> None:
    """A short rollout is seen to end at once, a long one costs the controller little."""
    assert pause_after(0.0) < pause_after(60.0) <= 1.0
    assert too_late("r-1", "paused", 5).reason == "wait_timeout"
