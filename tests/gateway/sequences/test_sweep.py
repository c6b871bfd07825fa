"""The sweeper: what it moves, how much at once, and how long a loading is held."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any

import pytest

from changeover.gateway.batcher import Batcher
from changeover.gateway.router import Target
from changeover.gateway.sequences.request import Stray
from changeover.gateway.sequences.sweep import AT_ONCE, GRACE, SLOTS, Sweeper, _sound
from changeover.sequences.slab import Geometry
from changeover.sequences.wire import sequence_key, sequence_tag
from tests.gateway.sequences.stateful import stateful
from tests.gateway.sequences.test_where import NEW, OLD, model


class Step:
    """A move under way."""

    over = False


class Slab:
    """What lives in a loading."""

    def __init__(self, tags: list[bytes]) -> None:
        self.tags = tags
        self.keys = [sequence_key(tag) for tag in tags]
        self.geometry = Geometry(max(len(tags), 1), 512)
        self.looked = 0
        self.handed_out: list[Any] = []

    @property
    def live(self) -> int:
        """How many."""
        return len(self.keys)

    def released(self, _: range) -> list[Any]:
        """Which were handed out."""
        return self.handed_out

    def places(self) -> dict[bytes, int]:
        """None has come from elsewhere."""
        return {}

    def live_keys(self, slots: range) -> Iterator[tuple[bytes, bytes]]:
        """Which."""
        self.looked = max(self.looked, len(slots))
        for slot in slots:
            key = sequence_key(self.tags[slot])
            if key in self.keys:
                yield key, self.tags[slot]


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
        self.mine = [tag for n in range(200) if _number(tag := sequence_tag(n + 1)) % 2 == 0][:20]
        others = [tag for n in range(200) if _number(tag := sequence_tag(n + 1)) % 2 == 1][:20]
        self.old.slab = Slab([*others, *self.mine])  # type: ignore[assignment]
        self.sweeper = Sweeper(self, self)  # type: ignore[arg-type]

    def move(self, _model: Any, stray: Stray) -> Step:
        """Begin one."""
        assert stray.source == OLD
        self.moved.append(stray.key)
        self.steps.append(Step())
        return self.steps[-1]

    def finish(self) -> None:
        """All moves are done: their records are gone."""
        self.old.slab.keys = [k for k in self.old.slab.keys if k not in self.moved]  # type: ignore[union-attr]
        for step in self.steps:
            step.over = True


def _number(tag: bytes) -> int:
    """By which gateways share keys."""
    return int.from_bytes(sequence_key(tag)[:4])


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
    assert sorted(house.moved) == sorted(sequence_key(tag) for tag in house.mine)


def test_what_a_worker_makes_up_is_given_to_no_other() -> None:
    """A tag that is too long, is no tag, or is another's: the worker that gets it would be blamed."""
    house = House()
    slab: Any = house.old.slab
    wrong = [b"\x02" + b"x" * 140, b"\x07seven", b"\x02\xff", b""]
    slab.tags[20:24] = wrong
    slab.keys = [sequence_key(tag) for tag in (*wrong, *house.mine[4:])]
    for turn in range(10):
        house.sweeper.check(1.0 + turn)
        house.finish()
    assert sorted(house.moved) == sorted(sequence_key(tag) for tag in house.mine[4:])
    assert not _sound(bytes(16), house.mine[0])


def test_a_large_slab_is_looked_at_in_parts() -> None:
    """The loop has clients to serve; the next part follows at the next tick."""
    house = House()
    slab: Any = Slab([sequence_tag(n + 1) for n in range(1000)])
    slab.keys = [key for tag in slab.tags[-200:] if _number(tag) % 2 == 0 for key in [sequence_key(tag)]][:AT_ONCE]
    house.old.slab = slab
    for turn in range(4):
        assert house.moved == []
        house.sweeper.check(1.0 + turn * 0.001)
    assert (len(house.moved), slab.looked) == (AT_ONCE, SLOTS)


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
    """And a moment longer, for a step may be on its way there; one that keeps no state is not held at all."""
    house = House()
    house.sweeper.hold(house.old)
    house.sweeper.hold(house.old)
    assert house.old.held == 1
    house.sweeper.check(1.0)
    assert house.old.held == 1
    house.old.slab.keys = []  # type: ignore[union-attr]
    house.finish()
    house.sweeper.check(2.0)
    house.sweeper.check(1.9 + GRACE)
    assert house.old.held == 1
    house.sweeper.check(2.1 + GRACE)
    assert house.old.held == 0
    house.targets[NEW].batcher.connected = True
    house.sweeper.hold(house.targets[NEW])
    assert house.targets[NEW].held == 0


@pytest.mark.parametrize("comes", [True, False])
def test_a_loading_that_a_new_gateway_was_told_of_is_held_until_its_slab_is_here(comes: bool) -> None:
    """It drains: what lives there is seen with its first channel, or there is none and never will be."""
    house = House("drain")
    slab, house.old.slab = house.old.slab, None
    house.sweeper.hold(house.old)
    for turn in range(3):
        house.sweeper.check(1.0 + turn * GRACE)
    assert house.old.held == 1
    if comes:
        house.old.slab, house.old.batcher.connected = slab, True
    else:
        house.old.batcher.gone = True
    for turn in range(3):
        house.sweeper.check(5.0 + turn * GRACE)
    assert house.old.held == comes


def test_an_empty_loading_is_held_while_a_step_is_on_its_way_there() -> None:
    """Its record is seen only when the step is committed; without a lease, or a state that comes, it may go."""
    house = House()
    house.old.slab.keys = []  # type: ignore[union-attr]
    house.old.leases = 1
    house.sweeper.hold(house.old)
    for turn in range(5):
        house.sweeper.check(1.0 + turn * GRACE)
    assert house.old.backing == 1
    house.old.slab.keys = [sequence_key(house.mine[0])]  # type: ignore[union-attr]
    house.old.leases = 0
    for turn in range(5):
        house.sweeper.check(6.0 + turn * GRACE)
    assert house.old.held == 1
    house.finish()
    for turn in range(3):
        house.sweeper.check(11.0 + turn * GRACE)
    assert house.old.held == 0


def test_a_loading_that_was_lived_in_again_is_looked_through_again() -> None:
    """What was on its way was looked for when it was empty before; what has come and gone since may be so too."""
    house, slab = House(), Slab([])
    house.old.slab = slab  # type: ignore[assignment]
    house.targets[NEW].slab = Slab([])  # type: ignore[assignment]
    house.old.leases = 1
    house.sweeper.hold(house.old)
    for turn in range(5):
        house.sweeper.check(1.0 + turn * GRACE)
    tag, summary = house.mine[0], SimpleNamespace(generation=5)
    slab.tags, slab.keys = [tag], [sequence_key(tag)]
    house.sweeper.check(7.0)
    lost = SimpleNamespace(key=slab.keys[0], tag=tag, moved_to=NEW, last_use=monotonic_ns(), summary=summary)
    slab.keys, slab.handed_out, house.old.leases = [], [lost], 0
    house.finish()
    house.moved.clear()
    for turn in range(3):
        house.sweeper.check(8.0 + turn * GRACE)
    assert (house.moved, house.old.held) == ([lost.key], 1)
    house.finish()
    for turn in range(2):
        house.sweeper.check(12.0 + turn)
    assert house.old.held == 0


def test_where_no_version_keeps_sequences_any_more_nothing_is_held() -> None:
    """No step can come to them."""
    house = House()
    house.sweeper.hold(house.old)
    house.model.table.stateful = house.model.stateful = False  # type: ignore[union-attr]
    house.sweeper.check(1.0)
    assert house.old.held == 0


def test_a_dead_loading_is_held_until_each_record_was_tried() -> None:
    """Nobody writes its slab any more, so it would never look empty."""
    house = House()
    house.old.batcher.gone = True
    house.sweeper.hold(house.old)
    for turn in range(60):
        house.sweeper.check(1.0 + turn * 5.0)
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
