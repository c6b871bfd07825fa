"""The channel between one gateway and one worker: shared-memory slots and a doorbell.

A slot has an input and an output area in one sealed memfd. The doorbell is a `SOCK_SEQPACKET` pair that
carries a small message a batch: a fixed header and one descriptor a tensor. Messages are copied by the kernel,
so what was checked cannot change afterwards; only tensor bytes live in shared memory. End of file on the
doorbell means that the peer is dead. A batch that does not fit its slot travels in a memfd of its own.

At the end of the memory lies one word a slot, the *hand*: a worker writes a batch's number there when it begins
with it. So the gateway knows, whoever else uses the worker, what a dead worker had in hand and what only waited. One
more word is the *beat*, which changes whenever the worker finishes a batch of any gateway.

A batch has `runs` executions of one shape (more than one only for models with a fixed batch dimension);
run *i* of a tensor starts at `offset + i * stride`. Standard library only.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import NamedTuple

from changeover.errors import Internal
from changeover.transport.page import sealed_memfd

ALIGN = 64
_WORD = 8
_BEATS = (1 << 64) - 1
MAX_CHANNEL_BYTES = 64 << 20
MAX_MESSAGE = 32 * 1024
MAX_DIMS = 16
MAX_DETAIL = 2000
SPARE_SLOTS = 2
"""Slots beyond one for each runner: while all of them run, the next batches are there already."""
_MAX_SLOTS = 64 + SPARE_SLOTS
"""For as many runners as a worker has at most."""
ANCILLARY = socket.CMSG_SPACE(4)
"""Room for the one descriptor that a message may bring."""
_MAGIC = 0x31484343
_HEADER = struct.Struct("<IBBHQIIQQQ")
_TENSOR = struct.Struct("<BBHIQQQ")


class Message(IntEnum):
    """What a doorbell message says."""

    RUN = 1  # gateway -> worker: run this batch
    ANSWER = 2  # worker -> gateway: outputs are in the slot
    FAILED = 3  # worker -> gateway: the session raised; the detail follows the header
    QUIET = 4  # gateway -> worker: run this batch at idle priority, for nobody waits for it
    STEP = 5  # gateway -> worker: run this batch, each row a step of the sequence in its record (`sequences.wire`)
    RECORDS = 6  # gateway -> worker: records of sequences alone, nothing runs


@dataclass(frozen=True, slots=True)
class ChannelSize:
    """Slots of a channel and the bytes of each slot's two areas (multiples of 64)."""

    slots: int
    input_bytes: int
    output_bytes: int

    @property
    def total(self) -> int:
        """Bytes of the whole memfd."""
        return self.hands_at + (self.slots + 1) * _WORD

    @property
    def hands_at(self) -> int:
        """Where the hands begin."""
        return self.slots * (self.input_bytes + self.output_bytes)

    def input_at(self, slot: int) -> int:
        """Where a slot's input area starts."""
        return slot * (self.input_bytes + self.output_bytes)

    def output_at(self, slot: int) -> int:
        """Where a slot's output area starts."""
        return self.input_at(slot) + self.input_bytes


def channel_size(slots: int, input_bytes: int, output_bytes: int) -> ChannelSize:
    """A size that fits 64 MiB a channel; areas that do not are cut, and larger batches travel in their own memfd."""
    share = MAX_CHANNEL_BYTES // slots // 2
    return ChannelSize(slots, aligned(min(input_bytes, share)), aligned(min(output_bytes, share)))


def checked_size(told: dict[str, int]) -> ChannelSize:
    """The size that a worker asks for, which may be hostile.

    Raises:
        Internal: no size that `channel_size` gives (reason `channel_malformed`).
        TypeError: other fields than a size has.
    """
    size = ChannelSize(**told)
    if not all(type(value) is int for value in told.values()) or not 1 <= size.slots <= _MAX_SLOTS:
        raise _malformed(f"{size.slots!r} slots")
    largest = aligned(MAX_CHANNEL_BYTES // size.slots // 2)
    if any(not ALIGN <= area <= largest or area % ALIGN for area in (size.input_bytes, size.output_bytes)):
        raise _malformed(f"slots of {size.input_bytes} and {size.output_bytes} bytes")
    return size


def aligned(size: int) -> int:
    """`size` rounded up to 64 bytes, at least 64."""
    return max(ALIGN, (size + ALIGN - 1) // ALIGN * ALIGN)


class Part(NamedTuple):
    """Where one tensor of a batch lies.

    `position` is its place in the signature; `shape` and `nbytes` are those of one run.
    """

    position: int
    datatype: int
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    stride: int


class Header(NamedTuple):
    """The fixed part of a message. `wall_ns` and `cpu_ns` are the worker's measure of all runs."""

    kind: int
    slot: int
    batch: int
    runs: int
    wall_ns: int = 0
    cpu_ns: int = 0


def pack(header: Header, parts: bytes, count: int) -> bytes:
    """A whole message; `parts` comes from `pack_parts`."""
    kind, slot, batch, runs, wall_ns, cpu_ns = header
    return _HEADER.pack(_MAGIC, kind, slot, count, batch, runs, 0, wall_ns, cpu_ns, len(parts)) + parts


def pack_parts(parts: Sequence[Part]) -> bytes:
    """The descriptors as bytes, to be kept where the same layout comes again."""
    out = bytearray()
    for position, datatype, shape, offset, nbytes, stride in parts:
        out += _TENSOR.pack(datatype, len(shape), position, 0, offset, nbytes, stride)
        out += struct.pack(f"<{len(shape)}Q", *shape)
    return bytes(out)


def unpack(data: bytes) -> tuple[Header, bytes, int]:
    """Header, descriptors (or the detail of a failure) and their count.

    Raises:
        Internal: wrong magic, kind or length (reason `channel_malformed`).
    """
    try:
        magic, kind, slot, count, batch, runs, _, wall_ns, cpu_ns, size = _HEADER.unpack_from(data)
    except struct.error:
        raise _malformed("shorter than its header") from None
    if magic != _MAGIC or not Message.RUN <= kind <= Message.RECORDS:
        raise _malformed("unknown kind")
    if len(data) != _HEADER.size + size or runs < 1:
        raise _malformed("a length that does not match")
    return Header(kind, slot, batch, runs, wall_ns, cpu_ns), data[_HEADER.size :], count


def unpack_parts(data: bytes, count: int) -> list[Part]:
    """The descriptors; nothing is known yet of their sense (see `check_part`).

    Raises:
        Internal: lengths that do not match (reason `channel_malformed`).
    """
    parts: list[Part] = []
    at = 0
    try:
        for _ in range(count):
            datatype, ndim, position, _, offset, nbytes, stride = _TENSOR.unpack_from(data, at)
            if ndim > MAX_DIMS:
                raise _malformed(f"{ndim} dimensions")
            at += _TENSOR.size
            shape = struct.unpack_from(f"<{ndim}Q", data, at)
            at += 8 * ndim
            parts.append(Part(position, datatype, shape, offset, nbytes, stride))
    except struct.error:
        raise _malformed("descriptors cut short") from None
    if at != len(data):
        raise _malformed("bytes after the descriptors")
    return parts


def check_part(part: Part, runs: int, itemsize: int, limit: int) -> None:
    """A tensor of `runs` runs lies inside `limit` bytes and its size is that of its shape.

    `itemsize` 0 stands for BYTES, whose size does not follow from the shape.

    Raises:
        Internal: it does not (reason `channel_malformed`).
    """
    if itemsize and part.nbytes != prod(part.shape) * itemsize:
        raise _malformed(f"tensor {part.position}: {part.nbytes} bytes for shape {list(part.shape)}")
    if runs > 1 and part.stride < part.nbytes:
        raise _malformed(f"tensor {part.position}: runs overlap")
    if part.offset + (runs - 1) * part.stride + part.nbytes > limit:
        raise _malformed(f"tensor {part.position} ends outside its area")


def _malformed(what: str) -> Internal:
    return Internal(f"a channel message is malformed: {what}", reason="channel_malformed")


class ChannelMemory:
    """The mapped slots; `hands` holds the number of the batch begun last in each."""

    def __init__(self, fd: int, size: ChannelSize) -> None:
        self.size = size
        self._map = mmap.mmap(fd, size.total)
        view = memoryview(self._map)
        self.inputs = [view[size.input_at(s) : size.input_at(s) + size.input_bytes] for s in range(size.slots)]
        self.hands = view[size.hands_at :].cast("Q")
        self.outputs = [view[size.output_at(s) : size.output_at(s) + size.output_bytes] for s in range(size.slots)]

    @property
    def beat(self) -> int:
        """Rises as the worker finishes batches."""
        return self.hands[-1]

    def strike(self) -> None:
        """The worker has finished one more."""
        self.hands[-1] = self.hands[-1] + 1 & _BEATS


def create(size: ChannelSize) -> tuple[int, socket.socket, socket.socket]:
    """Memory and both doorbell ends of a new channel: (memfd, gateway's end, worker's end)."""
    gateway, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (gateway, worker):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * MAX_MESSAGE)
    return sealed_memfd("changeover-channel", size.total), gateway, worker


def own_memory(size: int) -> tuple[int, memoryview]:
    """A sealed memfd for one large batch, mapped for writing: (descriptor, view).

    Raises:
        OSError: no descriptor or no address space is left.
    """
    fd = sealed_memfd("changeover-batch", aligned(size))
    try:
        return fd, memoryview(mmap.mmap(fd, aligned(size)))
    except OSError:
        os.close(fd)
        raise
