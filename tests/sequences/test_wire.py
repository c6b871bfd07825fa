"""Records of sequences as they travel."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.sequences import wire
from changeover.sequences.saved import NO_DIGEST, Flag, Token
from changeover.sequences.wire import Ask, Status, Told, Verb
from changeover.tensors import Datatype, Tensor
from tests.sequences.test_saved import outcome


def ask(identity: int | str = 5, **fields: object) -> Ask:
    """A step of a sequence."""
    tag = wire.sequence_tag(identity)
    return Ask(Verb.STEP, Token(3, 9), wire.sequence_key(tag), tag)._replace(**fields)  # type: ignore[arg-type]


def test_records_come_back_as_they_were_sent() -> None:
    """Fixed parts and bodies, in their order."""
    asks = [
        ask(flags=Flag.START, digest=wire.request_digest("r1")),
        ask("ä" * 64, verb=Verb.RELEASE, to=2**64 - 1),
        ask(2**64 - 1, verb=Verb.IMPORT, generation=7, flags=Flag.STAYS, body=b"state"),
    ]
    assert wire.unpack_asks(wire.pack_asks(asks)) == asks
    told = [Told(Status.OK, 4, 3, 2), Told(Status.MOVED, moved_to=8, body=b"xyz"), Told(Status.FULL)]
    assert wire.unpack_told(wire.pack_told(told), 3) == told
    assert outcome(partial(wire.unpack_told, most=2), wire.pack_told(told)) == "channel_malformed"


def test_a_number_and_its_text_are_two_sequences() -> None:
    """The tag tells them apart, and gives the id back."""
    number, text = wire.sequence_tag(5), wire.sequence_tag("5")
    assert wire.sequence_key(number) != wire.sequence_key(text)
    assert wire.identity(number) == 5
    assert wire.identity(text) == "5"
    with pytest.raises(ValueError, match="no sequence's tag"):
        wire.identity(b"5")


@pytest.mark.parametrize("identity", [0, -1, 2**64, "", "x" * 129, "ä" * 65])
def test_an_id_out_of_bounds_is_refused(identity: int | str) -> None:
    """Also the two that mean no sequence."""
    with pytest.raises(ValueError, match=r"bytes|from 1"):
        wire.sequence_tag(identity)


def test_no_request_id_has_no_digest() -> None:
    """And two ids have two."""
    assert wire.request_digest("") == NO_DIGEST
    assert wire.request_digest("", [Tensor("x", Datatype.INT8, (1,), b"1")]) == NO_DIGEST
    assert len({wire.request_digest("a"), wire.request_digest("b"), NO_DIGEST}) == 3


def test_an_id_names_a_request_together_with_its_inputs() -> None:
    """Another byte, shape, type or name is another request; another order of the tensors is not."""
    x, y = Tensor("x", Datatype.INT8, (2,), b"12"), Tensor("y", Datatype.INT8, (1,), b"3")
    others = [
        [x], [x, replace(y, data=b"4")], [x, replace(y, shape=(1, 1))], [x, replace(y, datatype=Datatype.UINT8)],
        [x, replace(y, name="z")], [replace(x, data=b"1"), replace(y, data=b"23")],
    ]  # fmt: skip
    digests = [wire.request_digest("a", inputs) for inputs in ([x, y], *others)]
    assert len(set(digests)) == len(digests)
    assert wire.request_digest("a", [y, replace(x, data=memoryview(b"12"))]) == digests[0]


@given(st.data())
def test_damaged_records_are_refused_or_read(data: st.DataObject) -> None:
    """Records or `channel_malformed`, and no other exception."""
    for packed, unpack in (
        (wire.pack_asks([ask(), ask(6, body=b"12345")]), wire.unpack_asks),
        (wire.pack_told([Told(Status.OK), Told(Status.DUPLICATE, body=b"12345")]), partial(wire.unpack_told, most=2)),
    ):
        damaged = bytearray(packed)
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        for found in (bytes(damaged), bytes(damaged[: data.draw(st.integers(0, len(damaged)))])):
            assert outcome(unpack, found) in (list, "channel_malformed")


def test_a_generation_that_leaves_no_room_to_count_is_refused() -> None:
    """It comes from a broken worker, and what adds one to it must fit 64 bits everywhere."""
    most = Told(Status.OK, (1 << 63) - 1)
    assert wire.unpack_told(wire.pack_told([most]), 1) == [most]
    assert outcome(partial(wire.unpack_told, most=1), wire.pack_told([Told(Status.OK, 1 << 63)])) == "channel_malformed"


class Memory:
    """Of a hostile worker: so large as it says, with `data` at its beginning, and other data once that was read.

    Attributes:
        read: bytes that were read from it.
    """

    def __init__(self, data: bytes, size: int, then: bytes | None = None) -> None:
        self._data, self._size, self._then = data, size, then
        self.read = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> bytes:
        start, stop, _ = piece.indices(self._size)
        self.read += stop - start
        found = self._data[start:stop]
        if self._then is not None and stop > wire.TOLD_BYTES:
            self._data = self._then
        return found


def told_memory(count: int, size: int, claimed: int | None = None) -> Memory:
    """Answers with bodies of so many bytes; `claimed`: the number of answers that it says."""
    packed = struct.pack("<Q", count if claimed is None else claimed)
    packed += b"".join(struct.pack("<B7xQQQQQ", Status.OK, 5, 1, 1, 0, size) for _ in range(count))
    return Memory(packed, len(packed) + count * size)


def test_large_states_of_several_sequences_come_in_one_message() -> None:
    """Eight move at once, and each may have a gibibyte."""
    found = wire.unpack_told(told_memory(8, 1 << 30), 8)  # type: ignore[arg-type]
    assert [told.status for told in found] == [Status.OK] * 8


@pytest.mark.parametrize(
    "memory",
    [
        told_memory(2, 1 << 30),  # more answers than records
        told_memory(1, 1 << 20),  # a larger body than a state of this loading has
        told_memory(1, 1 << 10, claimed=0),
        told_memory(1, 1 << 10, claimed=1 << 60),
        Memory(told_memory(1, 0)._data, 1 << 40),
        Memory(bytes(8), 1 << 40),
    ],
)
def test_no_body_is_copied_before_all_is_known_to_be_possible(memory: Memory) -> None:
    """The gateway that copies a gibibyte for a broken worker keeps all clients waiting."""
    assert outcome(partial(wire.unpack_told, most=1, largest=1 << 16), memory) == "channel_malformed"  # type: ignore[arg-type]
    assert memory.read < 100


def test_what_is_written_after_it_was_looked_at_is_not_believed() -> None:
    """Lengths are read once."""
    packed = wire.pack_told([Told(Status.OK, 5, body=b"abc"), Told(Status.OK, 6, body=b"d")])
    memory = Memory(packed, len(packed), b"\xff" * 104 + packed[104:])
    found = wire.unpack_told(memory, 2)  # type: ignore[arg-type]
    assert [(told.generation, told.body) for told in found] == [(5, b"abc"), (6, b"d")]


def test_more_memory_than_answers_can_take_is_not_copied() -> None:
    """A broken worker may have sealed more than the machine has: 64 GiB without a page behind them."""
    fd = os.memfd_create("sparse")
    os.ftruncate(fd, 64 << 30)
    with mmap.mmap(fd, 64 << 30, prot=mmap.PROT_READ) as sparse, memoryview(sparse) as view:
        assert outcome(partial(wire.unpack_told, most=1), view) == "channel_malformed"
    os.close(fd)
