"""The state slab of one loading: shared memory that outlives the worker, one slot a sequence.

The supervisor makes it (a memfd with a sealed size, sparse) and keeps it while the loading lives. Each worker
incarnation of the loading maps it for writing and is its only writer; gateways and the controller map it read-only.

```
prologue   magic, slots, bytes of a half, live sequences
words      one a slot: 0 free, else count << 1 | half     the commit word, stored last and at once
heads      one a slot: key, last use, mark, the id
halves     two a slot: length, then a packed `Saved`
```

**Commit**: the half that the word does not name is written, then the word is stored with the next count. A worker that
is killed anywhere in between leaves the last committed step as it was. **Mark**: a second word says what became of the
record since (released to a loading, ended, expired); it holds the count it was made for, so the next commit makes it
void by the same store. Ended, released and expired records stay as *tombstones* until their slot is needed, so that
whoever comes late gets an exact answer. A record whose last step had END is ended without any mark.

A reader copies and looks again: what did not change meanwhile is one committed step. Nothing read here is believed
before it is checked: a worker runs other people's files.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from changeover.errors import Internal
from changeover.sequences.geometry import HEAD_BYTES, MAGIC, PROLOGUE, Geometry, checked_geometry
from changeover.sequences.record import Brief, Mark, Record, made_brief, made_record, new_head, read_head
from changeover.sequences.saved import Flag, Saved, peek, state_bytes, unpack

__all__ = ["Brief", "Mark", "Record", "Slab"]
_LENGTH: Final = struct.Struct("<Q")
_LOOKS: Final = 100
_KEY: Final = 16
_HEAD_WORDS: Final = HEAD_BYTES // 8
_USED: Final = _KEY // 8
"""Place of the last use in a head, in words; behind it lie the loading it moved to and the mark."""


class Slab:
    """The mapped slab.

    Args:
        fd: of the memfd; it may be closed afterwards.
        geometry: given by the one writer; a reader finds it in the memory.
        expected: of a reader that knows what it has to be; the writer may have put something else there.

    Raises:
        Internal: the memory is no slab, or one of another geometry (reason `slab_malformed`).
    """

    def __init__(self, fd: int, geometry: Geometry | None = None, *, expected: Geometry | None = None) -> None:
        size = os.fstat(fd).st_size
        access = mmap.PROT_READ | (mmap.PROT_WRITE if geometry is not None else 0)
        if size < PROLOGUE:
            raise _malformed(f"{size} bytes")
        self._map = mmap.mmap(fd, size, mmap.MAP_SHARED, access)
        self._view = memoryview(self._map)
        self._prologue = self._view[:PROLOGUE].cast("Q")
        if geometry is not None and not self._prologue[0]:
            geometry.lay_out(fd)
        if self._prologue[0] != MAGIC:
            raise _malformed("it is none")
        found = checked_geometry([self._prologue[1], self._prologue[2]])
        if found.total > size or found != (geometry or expected or found):
            raise _malformed(f"{found} in {size} bytes")
        self.geometry = found
        self._words = self._view[PROLOGUE : PROLOGUE + 8 * found.slots].cast("Q")
        self._heads = self._view[found.heads_at : found.heads_at + HEAD_BYTES * found.slots].cast("Q")

    # -- reading -------------------------------------------------------------------------------------------

    @property
    def live(self) -> int:
        """Live sequences, as the worker counts them; it may be one behind after a death."""
        return self._prologue[3]

    def record(self, slot: int) -> Record | None:
        """What a slot holds; None when it is free.

        Raises:
            Internal: the slot makes no sense, or changes faster than it can be read (reason `slab_malformed`).
        """
        for _ in range(_LOOKS):
            word, head = self._words[slot], self._head(slot)
            if not word:
                return None
            half = self._half(slot, word & 1)
            data = bytes(half) if half is not None else None
            if data is not None and self._words[slot] == word and self._head(slot) == head:
                return made_record(slot, word, head, data)
        raise _malformed(f"slot {slot}")

    def find(self, key: bytes) -> Record | None:
        """The record of a sequence; a look at each slot, so not for every request."""
        for slot in range(self.geometry.slots):
            at = self.geometry.heads_at + slot * HEAD_BYTES
            if self._words[slot] and self._view[at : at + _KEY] == key:
                record = self.record(slot)
                if record is not None and record.key == key:
                    return record
        return None

    def places(self) -> dict[bytes, int]:
        """The slot of each key. It holds for good where no worker writes any more."""
        used: list[int] = np.flatnonzero(np.frombuffer(self._words, np.uint64)).tolist()
        return {self._key(slot): slot for slot in used}

    def _key(self, slot: int) -> bytes:
        at = self.geometry.heads_at + slot * HEAD_BYTES
        return bytes(self._view[at : at + _KEY])

    def briefs(self) -> Iterator[Brief]:
        """All that are not free, tombstones too; what makes no sense, or changes too fast, is left out."""
        for slot in range(self.geometry.slots):
            brief = self._brief(slot) if self._words[slot] else None
            if brief is not None:
                yield brief

    def _brief(self, slot: int) -> Brief | None:
        for _ in range(_LOOKS):
            word, head = self._words[slot], self._head(slot)
            data = self._half(slot, word & 1)
            try:
                said = (peek(data), state_bytes(data)) if data is not None else None
            except Internal:
                said = None
            if self._words[slot] == word and self._head(slot) == head:
                if not word or said is None:
                    return None
                return made_brief(slot, word, head, said)
        return None

    def live_keys(self, slots: Iterable[int] | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Key and tag of each live sequence, without its tensors; what is written at this moment may be left out.

        Args:
            slots: to be looked at, of this slab; None: all.
        """
        for slot in range(self.geometry.slots) if slots is None else slots:
            word = self._words[slot]
            if not word or self._heads[slot * _HEAD_WORDS + _USED + 2] >> 8 == word >> 1:
                continue
            try:
                flags = peek(self._view[self._half_at(slot, word & 1) + _LENGTH.size :]).flags
            except Internal:
                continue
            if not flags & Flag.END:
                head = read_head(self._head(slot))
                yield head.key, head.tag

    def released(self, slots: Iterable[int]) -> Iterator[Record]:
        """Of these slots, the records that were handed out; what makes no sense is left out."""
        for slot in slots:
            marked, word = self._heads[slot * _HEAD_WORDS + _USED + 2], self._words[slot]
            if not word or marked >> 8 != word >> 1 or marked & 0xFF != Mark.RELEASED:
                continue
            try:
                record = self.record(slot)
            except Internal:
                continue
            if record is not None and record.mark is Mark.RELEASED:
                yield record

    def _head(self, slot: int) -> bytes:
        at = self.geometry.heads_at + slot * HEAD_BYTES
        return bytes(self._view[at : at + HEAD_BYTES])

    def _half_at(self, slot: int, half: int) -> int:
        return self.geometry.halves_at + (2 * slot + half) * self.geometry.half

    def _half(self, slot: int, half: int) -> memoryview | None:
        at = self._half_at(slot, half)
        (length,) = _LENGTH.unpack_from(self._view, at)
        start = at + _LENGTH.size
        return self._view[start : start + length] if length <= self.geometry.saved_bytes else None

    # -- writing: the worker alone -------------------------------------------------------------------------

    def claim(self, slot: int, key: bytes, tag: bytes) -> None:
        """Make a slot free and a sequence's own; it stays free until the first commit.

        Args:
            slot: free, or a tombstone that is given up.
            key: 16 bytes of the sequence.
            tag: its id, at most 158 bytes.
        """
        self.free(slot)
        head = new_head(key, tag)
        self._put(self.geometry.heads_at + slot * HEAD_BYTES, head)

    def commit(self, slot: int, data: bytes, now: int) -> None:
        """Save a step: after the last store it is there, before it nothing is.

        Args:
            slot: that was claimed.
            data: a packed `Saved`.
            now: monotonic nanoseconds, the time of use.

        Raises:
            ValueError: the data is larger than a half; nothing was written.
        """
        if len(data) > self.geometry.saved_bytes:
            raise ValueError(f"{len(data)} bytes for a half of {self.geometry.saved_bytes}")
        word = self._words[slot]
        half = ~word & 1
        at = self._half_at(slot, half)
        self._put(at + _LENGTH.size, data)
        self._put(at, _LENGTH.pack(len(data)))
        self.touch(slot, now)
        self._store(slot, (word >> 1) + 1 << 1 | half)

    def touch(self, slot: int, now: int) -> None:
        """Note a use."""
        self._heads[slot * _HEAD_WORDS + _USED] = now

    def mark(self, slot: int, mark: Mark, moved_to: int = 0) -> None:
        """Say what became of a record; the next commit makes it void."""
        at = slot * _HEAD_WORDS + _USED
        self._heads[at + 1] = moved_to
        self._heads[at + 2] = (self._words[slot] >> 1) << 8 | mark

    def own(self, slot: int, *, answer: bool = True) -> Saved:
        """The last committed step of a slot that is not free, its tensors as views of the half; see `unpack`."""
        at = self._half_at(slot, self._words[slot] & 1)
        (length,) = _LENGTH.unpack_from(self._view, at)
        start = at + _LENGTH.size
        return unpack(self._view[start : start + min(length, self.geometry.saved_bytes)], answer=answer)

    def free(self, slot: int) -> None:
        """Forget a record altogether."""
        self._store(slot, 0)

    def count(self, live: int) -> None:
        """Tell the readers how many sequences live."""
        self._prologue[3] = live

    def _put(self, at: int, data: bytes) -> None:
        """Every write but that of a word; tests die here."""
        self._view[at : at + len(data)] = data

    def _store(self, slot: int, word: int) -> None:
        """One aligned store; tests die here too."""
        self._words[slot] = word


def _malformed(what: str) -> Internal:
    return Internal(f"a state slab is malformed: {what}", reason="slab_malformed")
