"""What asks do to the records of a slab, with a clock of the test's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from changeover.errors import Internal
from changeover.sequences.saved import Flag, Saved, unpack
from changeover.sequences.slab import Mark
from changeover.sequences.wire import Status, Told, Verb
from changeover.tensors import from_numpy
from changeover.testing import wait_for
from changeover.worker.records import Step
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
