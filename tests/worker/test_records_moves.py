"""What asks do to records that come from other loadings and go to them, with a clock of the test's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest

from changeover.errors import ModelRejected
from changeover.sequences.saved import Flag, Saved, unpack
from changeover.sequences.slab import Mark
from changeover.sequences.wire import MOST_WHY, Status, Verb
from changeover.tensors import from_numpy
from changeover.worker.moves import Carry
from changeover.worker.records import Records
from tests.worker.records_world import SECOND, World, verb
from tests.worker.sequence_parts import ask


@pytest.fixture
def world() -> Iterator[World]:
    """With one sequence, a, that has made two steps."""
    made = World()
    made.step(ask("a", 1, Flag.START))
    made.step(ask("a", 2))
    yield made
    os.close(made.fd)


def test_a_released_sequence_says_where_it_went(world: World) -> None:
    """Its state comes out once more, in the same generation, for a gateway may have died with it."""
    first = world.records.answer(verb(Verb.RELEASE, to=9))
    again = world.records.answer(verb(Verb.RELEASE, to=9))
    step = world.step(ask("a", 3))
    assert [t.status for t in (first, again, step)] == [Status.OK, Status.MOVED, Status.MOVED]
    assert first.body == again.body
    assert unpack(again.body).answer[0].numpy()[0] == 2
    assert not step.body
    assert first.generation == again.generation == unpack(first.body).generation
    assert step.moved_to == again.moved_to == 9
    assert world.records.answer(verb(Verb.RELEASE, "nobody", to=9)).status is Status.UNKNOWN


def test_a_state_is_taken_over_once(world: World) -> None:
    """With a step or without; an import that is not younger than what is there changes nothing."""
    other = World()
    released = world.records.answer(verb(Verb.RELEASE, to=9))
    came: dict[str, Any] = {"body": released.body, "generation": released.generation}
    told = other.step(ask("a", 3, **came))
    assert (told.status, told.body, told.steps, told.since) == (Status.OK, b"3", 3, 1)
    assert other.records.answer(verb(Verb.IMPORT, **came)).status is Status.OK
    assert other.state() == 3
    assert other.step(ask("a", 4, **came)).body == b"4"
    back = other.records.answer(verb(Verb.RELEASE, to=1))
    assert world.records.answer(verb(Verb.IMPORT, body=back.body, generation=back.generation)).status is Status.OK
    assert other.records.answer(verb(Verb.IMPORT, **came)).status is Status.OK
    assert (other.mark(), world.mark(), world.state()) == (Mark.RELEASED, Mark.LIVE, 4)
    os.close(other.fd)


def test_a_step_that_was_done_before_the_move_is_not_done_again(world: World) -> None:
    """Token and request id travel with the state."""
    world.step(ask("a", 3, digest=b"r" * 16))
    released = world.records.answer(verb(Verb.RELEASE, to=9))
    came: dict[str, Any] = {"body": released.body, "generation": released.generation}
    for again in (ask("a", 3, **came), ask("a", 77, digest=b"r" * 16, **came)):
        other = World()
        told = other.step(again)
        assert told.status is Status.DUPLICATE
        assert unpack(told.body).answer[0].numpy()[0] == 3
        assert (other.state(), other.mark()) == (3, Mark.LIVE)
        os.close(other.fd)


def test_a_request_that_is_given_once_more_is_a_step_where_the_record_is_gone(world: World) -> None:
    """A sequence that was forgotten, released or expired begins anew."""
    again: dict[str, Any] = {"flags": Flag.START, "digest": b"r" * 16}
    for number, gone in enumerate((Verb.FORGET, Verb.RELEASE, None)):
        assert world.step(ask("b", 10 * number + 1, **again)).status is Status.OK
        if gone is not None:
            world.records.answer(verb(gone, "b", to=9))
        world.now += 0 if gone is not None else 100 * SECOND
        assert world.step(ask("b", 10 * number + 2, **again)).body == b"1"
        assert world.step(ask("b", 10 * number + 3)).body == b"2"


def test_the_last_step_is_answered_once_more(world: World) -> None:
    """Its record ended with it, so a retry is told the same."""
    world.step(ask("a", 3, Flag.END, digest=b"r" * 16))
    assert world.step(ask("a", 4, Flag.END, digest=b"r" * 16)).status is Status.DUPLICATE


class Renaming(Carry):
    """Hands the state out as another version's, which it does not take back itself."""

    def hand(self, saved: Saved, to: int) -> Saved:
        """As k."""
        return replace(saved, states=tuple(replace(tensor, name="k") for tensor in saved.states), flags=Flag.BACK)


@pytest.mark.parametrize("step", [True, False])
def test_what_comes_home_is_what_went(world: World, *, step: bool) -> None:
    """Where the receiver did not take it, the body is in the receiver's layout, and the own state is still there."""
    world.records = Records(world.slab, world.layout, Renaming(world.layout), clock=lambda: world.now)
    released = world.records.answer(verb(Verb.RELEASE, to=9))
    assert unpack(released.body).states[0].name == "k"
    home: dict[str, Any] = {"flags": Flag.STAYS, "body": released.body, "generation": released.generation + 1}
    told = world.step(ask("a", 3, **home)) if step else world.records.answer(verb(Verb.IMPORT, **home))
    assert (told.status, told.generation, world.state()) == (Status.OK, released.generation + 1, 2 + step)
    assert world.mark() is Mark.LIVE


def test_what_took_a_step_elsewhere_does_not_come_home_as_it_went(world: World) -> None:
    """Its steps are in the body alone, whatever the numbers are."""
    other = World()
    released = world.records.answer(verb(Verb.RELEASE, to=9))
    other.step(ask("a", 3, body=released.body, generation=released.generation))
    back = other.records.answer(verb(Verb.RELEASE, to=1))
    world.records.answer(verb(Verb.IMPORT, body=back.body, generation=back.generation))
    assert world.state() == 3
    os.close(other.fd)


def test_what_the_shield_moved_stays_until_it_moves_again(world: World) -> None:
    """The flag is kept over steps, and lost with a new start."""
    other = World()
    released = world.records.answer(verb(Verb.RELEASE, to=9))
    other.step(ask("a", 3, Flag.STAYS, body=released.body, generation=released.generation))
    other.step(ask("a", 4))
    record = other.slab.find(ask("a", 1).key)
    assert record is not None
    assert record.summary.flags == Flag.STAYS
    other.step(ask("a", 5, Flag.START))
    record = other.slab.find(ask("a", 1).key)
    assert record is not None
    assert record.summary.flags == Flag.START
    os.close(other.fd)


def test_why_a_state_does_not_fit_is_told_shortly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker's names are in the sentence, and one that is too long would be taken for a broken worker's."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise ModelRejected("there is no state " + "k" * 1_000_000, reason="state_unfit")

    body, other = world.records.answer(verb(Verb.RELEASE, to=9)).body, World()
    for how in ("take", "hand"):
        monkeypatch.setattr(Carry, how, refuse)
    taken = other.records.answer(verb(Verb.IMPORT, body=body, generation=unpack(body).generation))
    handed = world.records.answer(verb(Verb.RELEASE, to=9))
    for told in (taken, handed):
        assert told.status is Status.BAD_STATE
        assert len(told.body) == MOST_WHY
    os.close(other.fd)


def test_a_state_that_does_not_fit_is_refused(world: World) -> None:
    """Damaged, or of another layout; what is there stays."""
    released = unpack(world.records.answer(verb(Verb.RELEASE, to=9)).body)
    wrong = from_numpy("k", np.zeros(2, np.float32))
    other = World()
    for body in (b"nonsense", replace(released, states=(wrong,)).pack()):
        told = other.records.answer(verb(Verb.IMPORT, body=body, generation=released.generation))
        assert told.status is Status.BAD_STATE
        assert told.body
        assert other.step(ask("a", 3, body=body, generation=released.generation)).status is Status.BAD_STATE
    assert other.mark() is None
    os.close(other.fd)


def test_a_released_state_expires_as_a_live_one_does(world: World) -> None:
    """It counts from the release; then it is given out no more, and a step hears that it has expired."""
    world.now += 50 * SECOND
    released = world.records.answer(verb(Verb.RELEASE, to=9))
    world.now += 50 * SECOND
    assert world.records.answer(verb(Verb.RELEASE, to=9)).status is Status.MOVED
    world.reborn()
    world.now += 20 * SECOND
    told = world.records.answer(verb(Verb.RELEASE, to=9))
    assert (told.status, told.body) == (Status.EXPIRED, b"")
    assert world.step(ask("a", 3)).status is Status.EXPIRED
    assert told.generation < released.generation


def test_what_ended_after_a_move_is_not_brought_back_by_what_comes_after(world: World) -> None:
    """The receiver still knows it when other tombstones have made room, as long as the old state is given out."""
    other = World()
    released = world.records.answer(verb(Verb.RELEASE, to=9))
    other.step(ask("a", 3, Flag.END, body=released.body, generation=released.generation))
    for number in range(20):
        other.step(ask(f"s{number}", 1, Flag.START | Flag.END))
    assert other.step(ask("a", 4)).status is Status.ENDED
    assert world.records.answer(verb(Verb.RELEASE, to=9)).status is Status.MOVED
    for each in (world, other):
        each.now += 61 * SECOND
    other.step(ask("late", 1, Flag.START | Flag.END))
    for number in range(20):
        other.step(ask(f"t{number}", 1, Flag.START | Flag.END))
    assert other.step(ask("a", 4)).status is Status.UNKNOWN
    assert world.records.answer(verb(Verb.RELEASE, to=9)).status is Status.EXPIRED
    os.close(other.fd)
