"""The messages of a channel: round trips, and whatever a hostile peer may send."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import Internal
from changeover.transport import channel
from changeover.transport.channel import ChannelMemory, ChannelSize, Header, Message, Part
from changeover.transport.page import is_sealed

U64 = st.integers(0, 2**64 - 1)
HEADERS = st.builds(Header, st.sampled_from(Message), st.integers(0, 255), U64, st.integers(1, 2**32 - 1), U64, U64)
PARTS = st.lists(
    st.builds(
        Part,
        st.integers(0, 2**16 - 1),
        st.integers(0, 255),
        st.lists(U64, max_size=channel.MAX_DIMS).map(tuple),
        U64,
        U64,
        U64,
    ),
    max_size=20,
)


@given(HEADERS, PARTS)
def test_a_message_comes_back_as_it_went(header: Header, parts: list[Part]) -> None:
    """Header and descriptors, with every value that fits them."""
    message = channel.pack(header, channel.pack_parts(parts), len(parts))
    got, body, count = channel.unpack(message)
    assert got == header
    assert channel.unpack_parts(body, count) == parts


@given(st.binary(max_size=400))
def test_garbage_raises_internal_and_nothing_else(data: bytes) -> None:
    """No byte string makes the parser fail in another way."""
    try:
        header, body, count = channel.unpack(data)
        parts = channel.unpack_parts(body, count)
    except Internal:
        pass
    else:
        assert channel.unpack(channel.pack(header, channel.pack_parts(parts), count))[0] == header


@given(HEADERS, PARTS, st.data())
def test_a_damaged_message_raises_internal_or_is_another_message(
    header: Header, parts: list[Part], data: st.DataObject
) -> None:
    """Cut, lengthened or with a changed byte: never an exception of another kind, never a read past the end."""
    message = bytearray(channel.pack(header, channel.pack_parts(parts), len(parts)))
    at = data.draw(st.integers(0, len(message) - 1))
    change = data.draw(st.sampled_from(["cut", "add", "flip"]))
    if change == "cut":
        del message[at:]
    elif change == "add":
        message[at:at] = data.draw(st.binary(min_size=1, max_size=60))
    else:
        message[at] ^= data.draw(st.integers(1, 255))
    try:
        _, body, count = channel.unpack(bytes(message))
        for part in channel.unpack_parts(body, count):
            channel.check_part(part, 1, 4, 1 << 20)
            assert part.offset + part.nbytes <= 1 << 20
    except Internal:
        pass


@given(st.binary(max_size=300), st.integers(0, 2**16 - 1))
def test_descriptors_of_garbage_raise_internal_only(data: bytes, count: int) -> None:
    """A count that promises more than there is costs nothing."""
    try:
        parts = channel.unpack_parts(data, count)
    except Internal:
        return
    assert len(parts) == count


@given(PARTS, st.integers(1, 2**32 - 1), st.sampled_from([0, 1, 2, 4, 8]), st.integers(0, 1 << 26))
def test_a_checked_part_lies_inside_its_area(parts: list[Part], runs: int, itemsize: int, limit: int) -> None:
    """Whatever passes the check can be read without leaving the memory, run by run, without overlap."""
    for part in parts:
        try:
            channel.check_part(part, runs, itemsize, limit)
        except Internal:
            continue
        assert part.offset + (runs - 1) * part.stride + part.nbytes <= limit
        assert runs == 1 or part.stride >= part.nbytes


@pytest.mark.parametrize(
    ("part", "runs", "limit"),
    [
        (Part(0, 11, (2, 4), 0, 31, 64), 1, 64),
        (Part(0, 11, (2, 4), 40, 32, 64), 1, 64),
        (Part(0, 11, (2, 4), 0, 32, 16), 2, 640),
        (Part(0, 11, (2, 4), 0, 32, 64), 3, 159),
        (Part(0, 11, (2**40, 2**40), 0, 2**64 - 4, 64), 1, 64),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: Part, runs: int, limit: int) -> None:
    """Another size than the shape's, past the end, overlapping runs, a last run past the end, an overflow."""
    with pytest.raises(Internal) as refused:
        channel.check_part(part, runs, 4, limit)
    assert refused.value.reason == "channel_malformed"


@given(st.integers(2, 8), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_a_channel_never_exceeds_its_limit(slots: int, inputs: int, outputs: int) -> None:
    """However large a model's tensors are, and areas are aligned and never empty."""
    size = channel.channel_size(slots, inputs, outputs)
    assert size.total <= channel.MAX_CHANNEL_BYTES + slots * 2 * channel.ALIGN
    assert size.input_bytes % channel.ALIGN == size.output_bytes % channel.ALIGN == 0
    assert min(size.input_bytes, size.output_bytes) >= channel.ALIGN


def test_slots_do_not_overlap() -> None:
    """What is written into one area is seen in no other, on both sides of a channel."""
    size = ChannelSize(3, 64, 128)
    fd, gateway, worker = channel.create(size)
    assert is_sealed(fd)
    ours, theirs = ChannelMemory(fd, size), ChannelMemory(fd, size)
    areas = [*ours.inputs, *ours.outputs]
    for number, area in enumerate(areas):
        area[:] = bytes([number + 1]) * len(area)
    seen = [*theirs.inputs, *theirs.outputs]
    assert [set(area) for area in seen] == [{number + 1} for number in range(6)]
    gateway.close()
    assert worker.recv(10) == b""
    worker.close()
    os.close(fd)


def test_memory_of_its_own_travels_with_a_message() -> None:
    """The room kept for descriptors holds one, and the receiver sees what the sender wrote."""
    fd, view = channel.own_memory(100_000)
    view[:5] = b"large"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    socket.send_fds(ours, [b"m"], [fd])
    _, ancillary, flags, _ = theirs.recvmsg(10, channel.ANCILLARY)
    assert len(ancillary) == 1
    assert not flags & socket.MSG_CTRUNC
    received = int.from_bytes(ancillary[0][2][:4], "little")
    assert is_sealed(received)
    assert os.pread(received, 5, 0) == b"large"
    for closing in (fd, received):
        os.close(closing)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("slots", "inputs", "outputs"),
    [(0, 64, 64), (67, 64, 64), (2, 0, 64), (2, 65, 64), (2, 64, 64 << 20), (2.0, 64, 64), (2, -64, 64)],
)
def test_a_size_that_nobody_gives_is_refused(slots: int, inputs: int, outputs: int) -> None:
    """A worker asks for its channel's size, and a wrong one would be made by the supervisor and mapped by gateways."""
    with pytest.raises(Internal):
        channel.checked_size({"slots": slots, "input_bytes": inputs, "output_bytes": outputs})


@given(st.integers(1, 64), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_every_size_that_is_given_is_taken(slots: int, inputs: int, outputs: int) -> None:
    """`checked_size` refuses nothing that `channel_size` makes."""
    size = channel.channel_size(slots, inputs, outputs)
    told = {"slots": size.slots, "input_bytes": size.input_bytes, "output_bytes": size.output_bytes}
    assert channel.checked_size(told) == size


def test_hands_and_beat_are_seen_from_the_other_end() -> None:
    """Behind the slots: what the worker has begun in each, and a word that changes with every batch, also past 2^64."""
    size = ChannelSize(3, 64, 128)
    fd, gateway, worker = channel.create(size)
    ours, theirs = ChannelMemory(fd, size), ChannelMemory(fd, size)
    os.close(fd)
    gateway.close()
    worker.close()
    theirs.outputs[2][:] = b"x" * 128
    theirs.hands[2] = 2**64 - 1
    theirs.strike()
    assert (list(ours.hands), ours.beat) == ([0, 0, 2**64 - 1, 1], 1)
    theirs.hands[-1] = 2**64 - 1
    theirs.strike()
    assert ours.beat == 0
    assert bytes(ours.outputs[2]) == b"x" * 128
