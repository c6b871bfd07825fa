"""Which slot a new sequence gets, and what may be given up for it."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token
from changeover.sequences.slab import Mark, Slab
from changeover.tensors import from_numpy
from changeover.worker.slots import Slots
from tests.worker.records_world import SECOND, layout
from tests.worker.sequence_parts import memory

NATIVE, ARRIVED = 3, 1


class House:
    """Six slots for four that live, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self.layout = layout()
        self.fd = memory(self.layout.geometry)
        self.reborn()

    def reborn(self) -> None:
        """As the next worker finds them."""
        self.slots = Slots(Slab(self.fd, self.layout.geometry), self.layout, lambda: self.now)

    def save(self, name: str, flags: Flag = Flag.START, since: int = NATIVE) -> None:
        """One step of a sequence."""
        self.now += 1
        saved = Saved(Token(1, 1), NO_DIGEST, flags, 7, since, NATIVE)
        self.slots.save(name.encode() * 16, b"\x02" + name.encode(), saved, saved.pack())

    def release(self, name: str) -> None:
        """Begin it, and hand it out."""
        self.save(name)
        self.slots.bury(name.encode() * 16, Mark.RELEASED, 9)

    def known(self) -> str:
        """The sequences that have a slot, in alphabetical order."""
        return "".join(c for c in "abcdefghijklmnop" if self.slots.of(c.encode() * 16) is not None)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    os.close(made.fd)


def fill(house: House) -> None:
    """A is released, b and c have arrived and ended, d, e and f have ended where they began."""
    house.release("a")
    for name in "bc":
        house.save(name, Flag.END, ARRIVED)
    for name in "def":
        house.save(name, Flag.END)


@pytest.mark.parametrize("reborn", [False, True])
def test_what_began_here_is_given_up_first(house: House, *, reborn: bool) -> None:
    """Then the oldest of the others; also after the death of a worker."""
    fill(house)
    if reborn:
        house.reborn()
    for name, left in zip("ghijk", ("abcefg", "abcfgh", "abcghi", "bcghij", "cghijk"), strict=True):
        house.save(name)
        assert house.known() == left


def test_a_released_one_that_has_expired_is_given_up_before_all(house: House) -> None:
    """Then the oldest of those that are as old."""
    fill(house)
    house.now += 61 * SECOND
    for name, left in zip("ghi", ("bcdefg", "cdefgh", "defghi"), strict=True):
        house.save(name)
        assert house.known() == left


def test_the_next_worker_finds_all_without_copying_the_tensors() -> None:
    """Four records of a megabyte each: a worker with large states is back as fast as any."""
    sizes = layout(saved_bytes=1 << 21)
    fd = memory(sizes.geometry)
    slab = Slab(fd, sizes.geometry)
    state = from_numpy("h", np.zeros(1 << 18, np.float32))
    data = Saved(Token(1, 1), NO_DIGEST, Flag(0), 7, 1, 1, (state,)).pack()
    for slot in range(4):
        slab.claim(slot, bytes([slot]) * 16, b"\x017")
        slab.commit(slot, data, 10 - slot)
    tracemalloc.start()
    try:
        slots = Slots(slab, sizes, lambda: 11)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    os.close(fd)
    assert list(slots.live) == [bytes([slot]) * 16 for slot in (3, 2, 1, 0)]
    assert peak < len(data)


def test_what_is_in_hand_is_never_given_up(house: House) -> None:
    """Nor is the room of those that have begun in another hand given away."""
    fill(house)
    house.slots.take(b"d" * 16)
    for name in "ghi":
        house.slots.take(name.encode() * 16)
    assert house.slots.full
    house.save("g", Flag.START | Flag.END)
    assert house.slots.full
    assert house.known() == "abcdfg"
    house.slots.leave([b"g" * 16])
    assert not house.slots.full
