"""The last comparison, with processes whose speed is known."""

from __future__ import annotations

import time

import pytest

from changeover.errors import ModelRejected
from changeover.workbench.tuning.halving import Load
from changeover.workbench.tuning.last import LEAST_SITTINGS, Arm, LastRound
from changeover.workbench.tuning.wish import Objective, Setting
from tests.workbench.tuning.fakes import FakeStable

DEFAULT, OTHER, THIRD = Setting(), Setting(level="off"), Setting(threads=2)


def held(stable: FakeStable, others: list[Setting], objective: Objective = "latency") -> tuple[Arm, list[Arm]]:
    last = LastRound(stable, objective, lambda _: Load(1, 1), lambda _: None)  # type: ignore[arg-type]
    return last.run(DEFAULT, others, time.monotonic())


def test_a_gain_is_told_with_its_interval() -> None:
    """A setting that takes 0.7 of the time may be answered with, and no process is left over."""
    stable = FakeStable({DEFAULT: 0.01, OTHER: 0.007})
    default, (arm,) = held(stable, [OTHER])
    assert arm.better
    assert arm.gain is not None
    assert arm.gain.low < 0.7 < arm.gain.high < 0.9
    assert len(default.sittings) == len(arm.sittings) == LEAST_SITTINGS
    assert len(stable.started) == 2 * LEAST_SITTINGS
    assert all(child.ended for child in stable.started)


def test_the_same_speed_is_no_gain() -> None:
    """Of equal settings hardly one comparison in twenty finds a gain; processes that are lucky once are only that."""
    wrong = sum(
        held(FakeStable({DEFAULT: 0.01, OTHER: 0.01}, luck=0.05, seed=at), [OTHER])[1][0].better for at in range(100)
    )
    assert wrong <= 6


def test_a_slower_setting_is_never_better() -> None:
    """Beside a faster one it is told apart."""
    _, (slow, fast) = held(FakeStable({DEFAULT: 0.01, OTHER: 0.02, THIRD: 0.005}), [OTHER, THIRD])
    assert not slow.better
    assert slow.gain is not None
    assert slow.gain.loss
    assert fast.better


def test_less_memory_may_not_cost_speed() -> None:
    """Half the memory is an answer only where the runs are no slower."""
    quick, slow = FakeStable({DEFAULT: 0.01, OTHER: 0.01}), FakeStable({DEFAULT: 0.01, OTHER: 0.02})
    for stable in (quick, slow):
        stable.memory = {DEFAULT: 100 << 20, OTHER: 50 << 20}
    assert held(quick, [OTHER], "memory")[1][0].better
    assert not held(slow, [OTHER], "memory")[1][0].better


def test_a_crash_drops_one_and_of_the_default_it_is_an_error() -> None:
    """Without the default there is nothing to compare with."""
    stable = FakeStable({DEFAULT: 0.01, OTHER: 0.005, THIRD: 0.006})
    stable.broken.add(OTHER)
    _, (gone, arm) = held(stable, [OTHER, THIRD])
    assert (gone.reason, gone.better, arm.better) == ("setting_crashed", False, True)
    stable.broken = {DEFAULT}
    with pytest.raises(ModelRejected, match="SIGSEGV"):
        held(stable, [OTHER])


def test_the_default_alone_is_measured_once() -> None:
    """Where nothing is left to compare, its figures are still told."""
    default, arms = held(FakeStable({DEFAULT: 0.01}), [])
    assert arms == []
    assert len(default.sittings) == 1
