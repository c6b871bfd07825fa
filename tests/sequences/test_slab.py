"""The slab in shared memory, as its writer and its readers use it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from changeover.errors import Internal
from changeover.sequences import wire
from changeover.sequences.geometry import Geometry
from changeover.sequences.saved import Flag, unpack
from changeover.sequences.slab import Mark, Slab
from changeover.transport.page import read_only, sealed_memfd
from tests.sequences.test_saved import saved

GEOMETRY = Geometry(8, 400)
NONE = Flag(0)
TAG = wire.sequence_tag("s")
KEY = wire.sequence_key(TAG)


class Killed(Exception):
    """Stands for a SIGKILL at a store."""


class Mortal(Slab):
    """A writer that dies before its n-th store."""

    stores = 0
    last = -1

    def _put(self, at: int, data: bytes) -> None:
        self._live_on()
        super()._put(at, data)

    def _store(self, slot: int, word: int) -> None:
        self._live_on()
        super()._store(slot, word)

    def _live_on(self) -> None:
        if self.stores == self.last:
            raise Killed
        self.stores += 1


class Careless(Mortal):
    """Without a commit word: the new step is written over the committed one."""

    def commit(self, slot: int, data: bytes, now: int) -> None:
        if not self._words[slot]:
            super().commit(slot, data, now)
            return
        at = self._half_at(slot, self._words[slot] & 1)
        middle = len(data) // 2
        self._put(at + 8, data[:middle])
        self._put(at + 8 + middle, data[middle:])


def memory(geometry: Geometry = GEOMETRY) -> int:
    """A memfd for a slab."""
    return sealed_memfd("test-slab", geometry.total)


def step(slab: Slab, steps: int, flags: Flag = NONE, slot: int = 2) -> None:
    """Commit a step."""
    slab.commit(slot, saved(steps, flags=flags).pack(), 1_000 + steps)


def started(kind: type[Slab] = Slab) -> tuple[int, Slab]:
    """A slab with one sequence that has made a step."""
    fd = memory()
    slab = kind(fd, GEOMETRY)
    slab.claim(2, KEY, TAG)
    step(slab, 1)
    return fd, slab


def test_a_committed_step_is_read_by_all() -> None:
    """A reader of a read-only descriptor finds the record, its id and its last step, and cannot write."""
    fd, slab = started()
    step(slab, 2)
    slab.count(1)
    reader = Slab(read_only(fd))
    record = reader.find(KEY)
    assert record is not None
    assert (record.slot, record.tag, record.mark, record.last_use) == (2, TAG, Mark.LIVE, 1_002)
    assert record.summary.steps == 2
    assert bytes(record.saved.states[0].data) == bytes(saved(2).states[0].data)
    (brief,) = reader.briefs()
    assert (brief.slot, brief.key, brief.tag, brief.mark) == (record.slot, KEY, TAG, Mark.LIVE)
    assert brief.state_bytes == sum(len(state.data) for state in record.saved.states)
    assert reader.live == 1
    with pytest.raises(TypeError):
        reader.free(2)


def test_nothing_is_there_before_the_first_commit() -> None:
    """A claimed slot is free for readers, and one that was freed is again."""
    fd = memory()
    slab = Slab(fd, GEOMETRY)
    slab.claim(2, KEY, TAG)
    assert slab.find(KEY) is None
    step(slab, 1)
    assert slab.find(KEY) is not None
    slab.free(2)
    assert slab.find(KEY) is None


def test_the_next_writer_finds_what_the_last_one_committed() -> None:
    """The memory is laid out once; another geometry, or no slab at all, is refused."""
    fd, _ = started()
    again = Slab(fd, GEOMETRY)
    record = again.find(KEY)
    assert record is not None
    assert record.summary.steps == 1
    with pytest.raises(Internal, match="slab is malformed"):
        Slab(fd, Geometry(7, 400))
    with pytest.raises(Internal, match="slab is malformed"):
        Slab(memory())
    with pytest.raises(Internal, match="slab is malformed"):
        Slab(sealed_memfd("test-slab", 100))


def test_a_step_that_does_not_fit_changes_nothing() -> None:
    """Its size is checked before the first store."""
    _, slab = started()
    with pytest.raises(ValueError, match="for a half of 400"):
        slab.commit(2, b"x" * 401, 5)
    record = slab.find(KEY)
    assert record is not None
    assert record.summary.steps == 1


def dies_at_each_store(kind: type[Mortal], act: Callable[[Slab], None]) -> list[tuple[int, Mark] | None]:
    """What a reader sees after a death before the 1st, 2nd … store of an act, and at last after no death."""
    seen: list[tuple[int, Mark] | None] = []
    for last in range(100):
        fd, slab = started(kind)
        assert isinstance(slab, Mortal)
        slab.stores, slab.last = 0, last
        try:
            act(slab)
        except Killed:
            pass
        try:
            record = Slab(fd, GEOMETRY).find(KEY)
            seen.append(record and (steps_of_all(record.data), record.mark))
        except Internal:
            seen.append((-1, Mark.LIVE))
        os.close(fd)
        if slab.stores < last:
            return seen
    raise AssertionError("the act does not end")


def steps_of_all(data: bytes) -> int:
    """The number of steps as header, state and answer tell it; -1 where they do not agree."""
    found = unpack(data)
    values = {found.steps, int(found.states[0].numpy()[0, 0, 0]), int(found.answer[0].numpy()[0, 0])}
    return values.pop() if len(values) == 1 else -1


def test_a_death_between_two_stores_leaves_the_old_step_or_the_new_one() -> None:
    """Never a mixture, and the new one only after the last store."""
    seen = dies_at_each_store(Mortal, lambda slab: step(slab, 2))
    assert len(seen) > 3
    assert seen[-1] == (2, Mark.LIVE)
    assert set(seen[:-2]) == {(1, Mark.LIVE)}


def test_without_the_commit_word_a_death_leaves_a_mixture() -> None:
    """The negative control of the test before."""
    seen = dies_at_each_store(Careless, lambda slab: step(slab, 2))
    assert any(at is not None and at[0] == -1 for at in seen)


def test_a_mark_is_void_with_the_next_commit() -> None:
    """By one store: at no moment is a new step seen under an old mark, nor an old step without it."""
    released = (1, Mark.RELEASED)

    def begin_again(slab: Slab) -> None:
        slab.mark(2, Mark.RELEASED, 77)
        assert isinstance(slab, Mortal)
        step(slab, 5, Flag.START)

    seen = dies_at_each_store(Mortal, begin_again)
    assert set(seen[:-2]) == {released}
    assert seen[-1] == (5, Mark.LIVE)


def test_a_released_record_says_where_it_went() -> None:
    """And an ended one needs no mark."""
    _, slab = started()
    slab.mark(2, Mark.RELEASED, 77)
    record = slab.find(KEY)
    assert record is not None
    assert (record.mark, record.moved_to) == (Mark.RELEASED, 77)
    step(slab, 2, Flag.END)
    record = slab.find(KEY)
    assert record is not None
    assert (record.mark, record.moved_to) == (Mark.ENDED, 0)


def test_a_slot_that_changes_hands_is_never_read_as_a_mixture() -> None:
    """A reader beside a writer that never rests sees whole steps only, each with the key that it belongs to."""
    fd, slab = started()
    reader, wrong, seen = Slab(read_only(fd)), list[object](), set[bytes]()
    other = wire.sequence_tag("other")
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                record = reader.record(2)
            except Internal:
                continue  # it changes faster than it can be read
            if record is not None:
                seen.add(record.key)
                even = steps_of_all(record.data) % 2 == 0
                if steps_of_all(record.data) < 0 or even != (record.tag == other):
                    wrong.append(record)

    reading = threading.Thread(target=read)
    reading.start()
    at = 0
    while len(seen) < 2 or at < 2_000:
        tag = other if at % 2 == 0 else TAG
        slab.claim(2, wire.sequence_key(tag), tag)
        step(slab, at)
        step(slab, at + 2)
        at += 1
    done.set()
    reading.join()
    assert not wrong
