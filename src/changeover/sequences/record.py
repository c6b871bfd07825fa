"""What one slot of a slab says, as it is read: the record of a sequence, and the head beside its tensors. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from changeover.sequences.geometry import HEAD_BYTES
from changeover.sequences.saved import Flag, Saved, Summary, peek, unpack

_HEAD: Final = struct.Struct("<16sQQQBB")
_MOST_ID: Final = HEAD_BYTES - _HEAD.size


class Mark(IntEnum):
    """What a record is. Only LIVE takes steps; the others are tombstones."""

    LIVE = 0
    RELEASED = 1
    ENDED = 2
    EXPIRED = 3


_MARKS: Final = {int(mark): mark for mark in Mark}


@dataclass(frozen=True, slots=True)
class Record:
    """One slot as it was at one moment.

    Attributes:
        slot: its number.
        key: of the sequence (`wire.sequence_key`).
        tag: its id (`wire.identity` reads it).
        mark: live, or why not.
        moved_to: the loading it was released to, 0 else.
        last_use: monotonic nanoseconds; of a tombstone, when it became one.
        data: the packed `Saved`, a copy.
    """

    slot: int
    key: bytes
    tag: bytes
    mark: Mark
    moved_to: int
    last_use: int
    data: bytes

    @property
    def summary(self) -> Summary:
        """Token, digest, generation and counts, without the tensors."""
        return peek(self.data)

    @property
    def saved(self) -> Saved:
        """All of it."""
        return unpack(self.data)


class Brief(NamedTuple):
    """The same without the tensors, which are not copied.

    Attributes:
        slot, key, tag, mark, last_use: as of a `Record`.
        summary: what its first bytes say.
        state_bytes: of its states.
    """

    slot: int
    key: bytes
    tag: bytes
    mark: Mark
    last_use: int
    summary: Summary
    state_bytes: int


class Head(NamedTuple):
    """The head of a slot; `marked`: a mark, and the count of the commit word that it was made for."""

    key: bytes
    last_use: int
    moved_to: int
    marked: int
    tag: bytes


def new_head(key: bytes, tag: bytes) -> bytes:
    """Of a sequence that gets a slot.

    Raises:
        ValueError: the tag is too long.
    """
    if len(tag) > _MOST_ID:
        raise ValueError(f"an id of {len(tag)} bytes")
    return _HEAD.pack(key, 0, 0, 0, len(tag), 0) + tag


def read_head(head: bytes) -> Head:
    """What the bytes of a head say."""
    key, last_use, moved_to, marked, length, _ = _HEAD.unpack_from(head)
    return Head(key, last_use, moved_to, marked, head[_HEAD.size : _HEAD.size + min(length, _MOST_ID)])


def made_record(slot: int, word: int, head: bytes, data: bytes) -> Record:
    """Of a commit word, a head and a packed step. Raises as `peek`."""
    said = read_head(head)
    mark = _mark(word, said.marked, peek(data).flags)
    moved_to = said.moved_to if mark is Mark.RELEASED else 0
    return Record(slot, said.key, said.tag, mark, moved_to, said.last_use, data)


def made_brief(slot: int, word: int, head: bytes, step: tuple[Summary, int]) -> Brief:
    """Of a commit word, a head, and what was read of the step: its summary and the bytes of its states."""
    said = read_head(head)
    return Brief(slot, said.key, said.tag, _mark(word, said.marked, step[0].flags), said.last_use, *step)


def _mark(word: int, marked: int, flags: Flag) -> Mark:
    mark = _MARKS.get(marked & 0xFF, Mark.LIVE) if marked >> 8 == word >> 1 else Mark.LIVE
    return Mark.ENDED if mark is Mark.LIVE and flags & Flag.END else mark
