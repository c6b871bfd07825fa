"""Successive halving, with processes whose speed is known."""

from __future__ import annotations

import math
import time

import pytest

from changeover.workbench.tuning.halving import Entry, Halving, Load
from changeover.workbench.tuning.wish import Setting
from tests.workbench.tuning.fakes import FakeStable

DEFAULT = Setting()
OTHERS = [Setting(max_batch=at) for at in range(1, 17)]


def halving(stable: FakeStable, told: list[str]) -> tuple[Halving, Entry]:
    default = Entry(DEFAULT)
    return Halving(stable, "latency", default, lambda _: Load(1, 1), told.append), default  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [64, 4])
def test_the_best_are_left(most: int) -> None:
    """Of sixteen the three fastest come through, however the machine's speed wanders and few processes there may be."""
    stable = FakeStable({DEFAULT: 0.01, **{one: 0.004 * 1.2**at for at, one in enumerate(OTHERS)}})
    stable.most = most
    told: list[str] = []
    race, default = halving(stable, told)
    left = race.run([Entry(one) for one in reversed(OTHERS)], time.monotonic() + 60, 3)
    assert [one.setting for one in left] == OTHERS[:3]
    assert left[0].ratio("latency", default) == pytest.approx(0.4, rel=0.15)
    assert len(told) == 3


def test_the_better_half_gets_more_time() -> None:
    """The slowest are measured in one round only, the best in all; the default takes its turn in each."""
    stable = FakeStable({DEFAULT: 0.01, **{one: 0.004 * 1.3**at for at, one in enumerate(OTHERS)}})
    race, _ = halving(stable, [])
    entries = [Entry(one) for one in OTHERS]
    race.run(entries, time.monotonic() + 60, 3)
    assert [one.rounds for one in (entries[0], entries[-1])] == [3, 1]
    assert stable.asked[OTHERS[0]] == 9
    assert stable.asked[OTHERS[-1]] == 3
    assert stable.asked[DEFAULT] == 9


def test_a_crash_drops_one_setting() -> None:
    """It has a reason and is not among those left; all others go on."""
    stable = FakeStable(dict.fromkeys((DEFAULT, *OTHERS[:4]), 0.01))
    stable.broken.add(OTHERS[0])
    told: list[str] = []
    race, default = halving(stable, told)
    entries = [Entry(one) for one in OTHERS[:4]]
    left = race.run(entries, time.monotonic() + 60, 3)
    assert {one.setting for one in left} == set(OTHERS[1:4])
    assert entries[0].reason == "setting_crashed"
    assert entries[0].ratio("latency", default) == math.inf
    assert any("SIGSEGV" in sentence for sentence in told)


def test_a_budget_that_is_used_up_ends_it() -> None:
    """So many as are to be left have their turn nevertheless; the others are said to have had none."""
    stable = FakeStable(dict.fromkeys((DEFAULT, *OTHERS), 0.01))
    race, _ = halving(stable, [])
    entries = [Entry(one) for one in OTHERS]
    left = race.run(entries, time.monotonic() - 1, 3)
    assert {one.setting for one in left} == set(OTHERS[:3])
    assert [one.reason for one in entries] == [""] * 3 + ["tune_budget"] * 13


def test_memory_is_compared_as_it_was_weighed() -> None:
    """With objective memory a setting's figure is its bytes over the default's."""
    default, one = Entry(DEFAULT, memory=200), Entry(OTHERS[0], memory=100)
    assert one.ratio("memory", default) == 0.5
    assert Entry(OTHERS[0]).ratio("memory", default) == math.inf
