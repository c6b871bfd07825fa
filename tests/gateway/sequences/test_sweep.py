"""The sweeper: what it moves, how much at once, and how long a loading is held."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.gateway.batcher import Batcher
from changeover.gateway.router import Target
from changeover.gateway.sequences.sweep import AT_ONCE, Sweeper
from tests.gateway.sequences.stateful import stateful
from tests.gateway.sequences.test_where import NEW, OLD, model


class Step:
    """A move under way."""

    over = False


class Slab:
    """What lives in a loading."""

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = keys

    @property
    def live(self) -> int:
        """How many."""
        return len(self.keys)

    def live_keys(self) -> list[tuple[bytes, bytes]]:
        """Which."""
        return [(key, b"\x017") for key in self.keys]


class House:
    """Models and moves of a gateway, one of two."""

    def __init__(self, way: str = "carry") -> None:
        self.model = model(way=way, candidate=False)
        table = self.model.table
        assert table is not None
        self.targets = dict(table.targets)
        self.by_name = {"m": self.model}
        self.place = (0, 2)
        self.moved: list[bytes] = []
        self.steps: list[Step] = []
        self.old = self.targets[OLD]
        self.old.slab = Slab([n.to_bytes(4) + bytes(12) for n in range(40)])  # type: ignore[assignment]
        self.sweeper = Sweeper(self, self)  # type: ignore[arg-type]

    def move(self, _model: Any, key: bytes, _tag: bytes, source: int) -> Step:
        """Begin one."""
        assert source == OLD
        self.moved.append(key)
        self.steps.append(Step())
        return self.steps[-1]

    def finish(self) -> None:
        """All moves are done: their records are gone."""
        self.old.slab.keys = [k for k in self.old.slab.keys if k not in self.moved]  # type: ignore[union-attr]
        for step in self.steps:
            step.over = True


def test_a_few_at_a_time_and_each_gateway_its_share() -> None:
    """What lies in a loading without traffic leaves it; the other gateway's keys are left to it."""
    house = House()
    house.sweeper.check(1.0)
    assert len(house.moved) == AT_ONCE
    house.sweeper.check(1.01)
    assert len(house.moved) == AT_ONCE
    for turn in range(10):
        house.finish()
        house.sweeper.check(1.1 + turn)
    assert sorted(int.from_bytes(k[:4]) for k in house.moved) == list(range(0, 40, 2))


@pytest.mark.parametrize("way", ["drain", "reset"])
def test_what_is_to_stay_is_left_alone(way: str) -> None:
    """Also what begins anew does so at its next step only."""
    house = House(way)
    house.sweeper.check(1.0)
    assert house.moved == []


def test_a_loading_with_traffic_is_left_alone() -> None:
    """Its sequences move at their next steps."""
    house = House()
    house.model.table.carrying.add(OLD)  # type: ignore[union-attr]
    house.sweeper.check(1.0)
    assert house.moved == []


def test_a_loading_is_held_until_nothing_lives_there() -> None:
    """One that is empty, or keeps no state, is not held at all."""
    house = House()
    house.sweeper.hold(house.old)
    house.sweeper.hold(house.old)
    assert house.old.held == 1
    house.sweeper.check(1.0)
    assert house.old.held == 1
    house.old.slab.keys = []  # type: ignore[union-attr]
    house.finish()
    house.sweeper.check(2.0)
    assert house.old.held == 0
    house.sweeper.hold(house.old)
    house.sweeper.hold(house.targets[NEW])
    assert (house.old.held, house.targets[NEW].held) == (0, 0)


def test_a_dead_loading_is_held_until_each_record_was_tried() -> None:
    """Nobody writes its slab any more, so it would never look empty."""
    house = House()
    house.old.batcher.gone = True
    house.sweeper.hold(house.old)
    for turn in range(6):
        house.sweeper.check(1.0 + turn * 0.2)
        for step in house.steps:
            step.over = True
    assert (len(house.moved), house.old.held) == (20, 0)


def test_a_dead_loading_whose_sequences_do_not_move_is_let_go() -> None:
    """They are lost, and their next steps hear so."""
    house = House("drain")
    house.old.batcher.gone = True
    house.sweeper.hold(house.old)
    house.sweeper.check(1.0)
    assert house.old.held == 0


def test_nothing_is_remembered_of_loadings_that_are_gone() -> None:
    """A server changes its versions for years."""
    house = House()
    house.sweeper.check(1.0)
    del house.targets[OLD], house.model.table.targets[OLD]  # type: ignore[union-attr]
    entry = stateful(9, "9")
    house.targets[9] = Target(entry, 1, Batcher(entry, None, None, None))  # type: ignore[arg-type]
    house.finish()
    house.sweeper.check(2.0)
    assert not house.sweeper._sweeps
