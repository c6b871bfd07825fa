"""What asks do to the records of a slab, with a clock of the test's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from changeover.errors import Internal
from changeover.sequences.declared import Layout, StateLayout
from changeover.sequences.saved import Extent, Flag, Saved, most_bytes, unpack
from changeover.sequences.slab import Mark, Slab
from changeover.sequences.wire import Ask, Status, Told, Verb
from changeover.tensors import from_numpy
from changeover.testing import wait_for
from changeover.worker.moves import Carry
from changeover.worker.records import Records, Step
from tests.worker.sequence_parts import ask, memory

SECOND = 1_000_000_000


def layout(**fields: Any) -> Layout:
    """Two numbers of state, four sequences at most."""
    saved = most_bytes([Extent("h", 1, 8)], [Extent("y", 1, 8)], [], 0)
    state = StateLayout("h", "hn", "FP32", [2], None, 2)
    whole: dict[str, Any] = {"idle": 60.0, "max": 4, "on_changeover": "carry", "replay": 0, "slots": 6}
    return Layout([state], [], **{**whole, "saved_bytes": saved, **fields})


class World:
    """A slab, its records and a clock; the model adds one to the state a step."""

    def __init__(self, fd: int | None = None, **fields: Any) -> None:
        self.now = 1_000 * SECOND
        self.layout = layout(**fields)
        self.fd = memory(self.layout.geometry) if fd is None else fd
        self.reborn()

    def reborn(self) -> None:
        """The next worker of the loading."""
        self.slab = Slab(self.fd, self.layout.geometry)
        self.records = Records(self.slab, self.layout, clock=lambda: self.now)

    def step(self, one: Ask) -> Told:
        """One step; OK's body is the state after it, as text."""
        self.now += 1
        (work,) = self.records.begin([one])
        try:
            if isinstance(work, Told):
                return work
            before = work.before.states[0].numpy()[0] if work.before is not None else 0.0
            state = from_numpy("h", np.full(2, before + 1, np.float32))
            told = self.records.commit(work, [state], [replace(state, name="y")], [])
            return told._replace(body=str(int(before + 1)).encode())
        finally:
            self.records.end([one])

    def state(self, identity: str = "a") -> float:
        """Of a sequence, as a reader of the slab sees it."""
        record = self.slab.find(ask(identity, 1).key)
        assert record is not None
        return float(record.saved.states[0].numpy()[0])

    def mark(self, identity: str = "a") -> Mark | None:
        """What a reader sees of a record."""
        record = self.slab.find(ask(identity, 1).key)
        return None if record is None else record.mark


def verb(kind: Verb, identity: str = "a", **fields: Any) -> Ask:
    """An ask that is no step."""
    return ask(identity, 0, verb=kind, **fields)


@pytest.fixture
def world() -> Iterator[World]:
    """With one sequence, a, that has made two steps."""
    made = World()
    made.step(ask("a", 1, Flag.START))
    made.step(ask("a", 2))
    yield made
    os.close(made.fd)


def test_no_step_without_a_start(world: World) -> None:
    """Nor after the end; never a silent zero state."""
    assert world.step(ask("b", 1)).status is Status.UNKNOWN
    assert world.step(ask("a", 3, Flag.END)).body == b"3"
    assert world.step(ask("a", 4)).status is Status.ENDED
    assert world.step(ask("a", 3, Flag.END)).status is Status.DUPLICATE
    assert world.slab.live == 0


def test_a_start_begins_anew_whatever_there_was(world: World) -> None:
    """A live one, one that ended, and one that went elsewhere; each time it is younger than before."""
    generations = [world.slab.find(ask("a", 1).key)]
    for number, prepare in enumerate((None, Flag.END, "release")):
        if isinstance(prepare, Flag):
            world.step(ask("a", 10 + number, prepare))
        elif prepare:
            world.records.answer(verb(Verb.RELEASE, to=9))
        told = world.step(ask("a", 20 + number, Flag.START))
        assert (told.status, told.steps, told.since, told.body) == (Status.OK, 1, 1, b"1")
        generations.append(world.slab.find(ask("a", 1).key))
        assert world.mark() is Mark.LIVE
    found = [record.summary.generation for record in generations if record is not None]
    assert found == sorted(set(found))


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


def test_as_many_live_as_may(world: World) -> None:
    """One more is refused; one that ends, moves or expires makes room, and its tombstone is still known."""
    for name in "bcd":
        world.step(ask(name, 1, Flag.START))
    assert world.step(ask("e", 1, Flag.START)).status is Status.FULL
    assert world.step(ask("a", 3)).body == b"3"
    world.step(ask("a", 4, Flag.END))
    assert world.step(ask("e", 1, Flag.START)).status is Status.OK
    assert world.step(ask("a", 5)).status is Status.ENDED
    begun = world.records.begin([ask("f", 1, Flag.START), ask("g", 2, Flag.START)])
    assert [isinstance(work, Told) and work.status for work in begun] == [Status.FULL, Status.FULL]


def test_room_is_shared_out_within_a_batch(world: World) -> None:
    """Three may begin beside the one that lives, and the fourth of the same message may not."""
    begun = world.records.begin([ask(name, 1, Flag.START) for name in "bcde"])
    assert [isinstance(work, Step) for work in begun] == [True, True, True, False]


def test_the_oldest_tombstone_makes_room_and_a_released_one_last() -> None:
    """Six slots for four that live: who comes late after that is unknown."""
    world = World()
    world.step(ask("gone", 1, Flag.START))
    world.records.answer(verb(Verb.RELEASE, "gone", to=9))
    for number in range(20):
        world.step(ask(f"s{number}", 1, Flag.START | Flag.END))
    assert world.step(ask("gone", 2)).status is Status.MOVED
    assert world.step(ask("s0", 2)).status is Status.UNKNOWN
    assert world.step(ask("s19", 2)).status is Status.ENDED


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


def test_room_is_shared_out_among_all_hands(world: World) -> None:
    """What another thread is about to begin has its place, so each step that was let in can be committed."""
    first = world.records.begin([ask(name, 1, Flag.START) for name in "bc"])
    second = world.records.begin([ask(name, 1, Flag.START) for name in "de"])
    works = [*first, *second]
    assert [isinstance(work, Step) or work.status for work in works] == [True, True, True, Status.FULL]
    state = from_numpy("h", np.zeros(2, np.float32))
    told = [world.records.commit(work, [state], [], []) for work in works if isinstance(work, Step)]
    assert [one.status for one in told] == [Status.OK] * 3
    world.records.end([ask(name, 1) for name in "bcde"])
    assert world.slab.live == 4


def test_steps_of_what_has_ended_keep_no_slot_from_a_beginning(world: World) -> None:
    """However many of them come in the message that begins one."""
    for number in range(5):
        world.step(ask(f"s{number}", 1, Flag.START | Flag.END))
    late = [ask(f"s{number}", 2) for number in range(5)]
    *told, new = world.records.begin([*late, ask("b", 3, Flag.START)])
    assert [isinstance(one, Told) and one.status for one in told] == [Status.ENDED] * 5
    assert isinstance(new, Step)
    assert world.records.commit(new, [from_numpy("h", np.zeros(2, np.float32))], [], []).status is Status.OK


def test_an_idle_sequence_expires(world: World) -> None:
    """After `idle` seconds without a step, at any look; a step keeps it alive, also over a worker's death."""
    world.step(ask("b", 1, Flag.START))
    world.now += 40 * SECOND
    world.step(ask("b", 2))
    world.reborn()
    world.now += 40 * SECOND
    world.records.expire()
    assert (world.mark("a"), world.mark("b")) == (Mark.EXPIRED, Mark.LIVE)
    assert world.step(ask("a", 3)).status is Status.EXPIRED
    assert world.step(ask("b", 3)).status is Status.OK
    assert world.slab.live == 1


def test_a_forgotten_sequence_has_ended(world: World) -> None:
    """Also one that was released: its state must not come back."""
    assert world.records.answer(verb(Verb.FORGET, "nobody")).status is Status.UNKNOWN
    world.records.answer(verb(Verb.RELEASE, to=9))
    assert world.records.answer(verb(Verb.FORGET)).status is Status.OK
    assert world.records.answer(verb(Verb.RELEASE, to=9)).status is Status.ENDED
    assert world.mark() is Mark.ENDED


def test_what_is_younger_than_the_word_to_forget_it_stays(world: World) -> None:
    """The word may come late, after the sequence has begun anew; without a generation it is for any."""
    record = world.slab.find(verb(Verb.FORGET).key)
    assert record is not None
    generation = record.summary.generation
    assert world.records.answer(verb(Verb.FORGET)._replace(generation=generation)).status is Status.UNKNOWN
    assert world.mark() is Mark.LIVE
    assert world.records.answer(verb(Verb.FORGET)._replace(generation=generation + 1)).status is Status.OK
    assert world.mark() is Mark.ENDED


def test_the_next_worker_knows_all_of_it(world: World) -> None:
    """Live, released and ended records, and how many live."""
    for name in "bc":
        world.step(ask(name, 1, Flag.START))
    world.records.answer(verb(Verb.RELEASE, "b", to=9))
    world.step(ask("c", 2, Flag.END))
    world.reborn()
    assert world.slab.live == 1
    assert [world.step(ask(name, 9)).status for name in "abc"] == [Status.OK, Status.MOVED, Status.ENDED]


def test_a_step_that_is_too_large_is_told_so(world: World) -> None:
    """And commits nothing."""
    (work,) = world.records.begin([ask("a", 3)])
    assert isinstance(work, Step)
    large = from_numpy("h", np.zeros(200, np.float32))
    assert world.records.commit(work, [large], [], []).status is Status.TOO_LARGE
    world.records.end([ask("a", 3)])
    assert world.step(ask("a", 4)).body == b"3"


def test_a_verb_in_the_wrong_message_breaks_the_channel(world: World) -> None:
    """Steps have a run, and nothing else has."""
    with pytest.raises(Internal, match="a step among records"):
        world.records.answer(ask("a", 3))
    with pytest.raises(Internal, match="or none"):
        world.records.begin([verb(Verb.FORGET)])


def test_a_slot_with_nonsense_counts_as_free() -> None:
    """What no worker that keeps to the rules leaves behind keeps no replacement from serving."""
    world = World()
    world.step(ask("a", 1, Flag.START))
    world.slab.commit(world.slab.find(ask("a", 1).key).slot, b"nonsense", 5)  # type: ignore[union-attr]
    world.reborn()
    assert world.step(ask("a", 2)).status is Status.UNKNOWN
    assert world.step(ask("a", 3, Flag.START)).status is Status.OK
    assert isinstance(unpack(world.slab.find(ask("a", 1).key).data), Saved)  # type: ignore[union-attr]


def test_two_runners_take_a_sequence_in_turn(world: World) -> None:
    """The second waits until the first has let go, and then goes on from its step; others do not wait."""
    order: list[str] = []
    (held,) = world.records.begin([ask("a", 3)])

    def other() -> None:
        order.append(f"second {world.step(ask('a', 4)).body.decode()}")

    second = threading.Thread(target=other)
    second.start()
    wait_for(lambda: world.records._turn._waiters, "the second waits")  # type: ignore[attr-defined]
    assert world.step(ask("b", 1, Flag.START)).status is Status.OK
    assert isinstance(held, Step)
    state = from_numpy("h", np.full(2, 10, np.float32))
    order.append(f"first {world.records.commit(held, [state], [], []).status.name}")
    world.records.end([ask("a", 3)])
    second.join()
    assert order == ["first OK", "second 11"]
