"""Where the records of one slab lie, as its only writer knows it: those that live, and the tombstones by age.

A sequence's slot is its own while it lives or a step of it is in hand. A new one takes a free slot, or that of the
tombstone which is missed least, see `_given_up`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from changeover.sequences.declared import Layout
from changeover.sequences.saved import Saved, Summary
from changeover.sequences.slab import Mark, Slab


class _Grave(NamedTuple):
    mark: Mark
    at: int


class Slots:
    """The slots of a slab. Not thread-safe: `Records` takes turns.

    Attributes:
        live: last use by key, the earliest first.

    Args:
        slab: mapped for writing.
        layout: of the loading's sequences.
        clock: monotonic nanoseconds.
    """

    def __init__(self, slab: Slab, layout: Layout, clock: Callable[[], int]) -> None:
        self._slab = slab
        self._most = layout.max
        self._idle = int(layout.idle * 1e9)
        self._clock = clock
        self._slots: dict[bytes, int] = {}
        self.live: OrderedDict[bytes, int] = OrderedDict()
        self._released: OrderedDict[bytes, _Grave] = OrderedDict()
        self._arrived: OrderedDict[bytes, _Grave] = OrderedDict()  # ended or expired, and came from elsewhere
        self._native: OrderedDict[bytes, _Grave] = OrderedDict()  # the other ones
        self._graves = (self._released, self._arrived, self._native)
        self._busy: set[bytes] = set()
        self._reserved: set[bytes] = set()  # of the busy ones, those that do not live
        self._find()

    def _find(self) -> None:
        """Take over what the last worker left; a slot that makes no sense counts as free."""
        for record in sorted(self._slab.briefs(), key=lambda r: r.last_use):
            self._slots[record.key] = record.slot
            if record.mark is Mark.LIVE:
                self.live[record.key] = record.last_use
            else:
                self._dig(record.key, _Grave(record.mark, record.last_use), record.summary)
        taken = set(self._slots.values())
        self._free = [slot for slot in reversed(range(self._slab.geometry.slots)) if slot not in taken]
        self._slab.count(len(self.live))

    # -- what is there -------------------------------------------------------------------------------------

    def of(self, key: bytes) -> int | None:
        """The slot of a sequence."""
        return self._slots.get(key)

    def mark(self, key: bytes) -> Mark:
        """What a record is that has a slot.

        A released one has expired after `idle`: its receiver may have forgotten by then that it had it, and nobody
        may bring the old state back.
        """
        grave = next((graves[key] for graves in self._graves if key in graves), None)
        if grave is None:
            return Mark.LIVE
        return Mark.EXPIRED if grave.mark is Mark.RELEASED and grave.at < self._clock() - self._idle else grave.mark

    @property
    def full(self) -> bool:
        """As many sequences live, or are about to, as may."""
        return len(self.live) + len(self._reserved) >= self._most

    def late(self) -> list[bytes]:
        """The live ones that nobody has used for `idle` seconds."""
        before, found = self._clock() - self._idle, []
        for key, used in self.live.items():
            if used >= before:
                break
            found.append(key)
        return found

    # -- what becomes of it --------------------------------------------------------------------------------

    def take(self, key: bytes) -> None:
        """A step of it is to be run: its slot, or the room for it, is its own until `leave`."""
        self._busy.add(key)
        if key not in self.live:
            self._reserved.add(key)

    def leave(self, keys: Iterable[bytes]) -> None:
        """Their steps are over."""
        for key in keys:
            self._busy.discard(key)
            self._reserved.discard(key)

    def save(self, key: bytes, tag: bytes, saved: Saved, data: bytes) -> None:
        """Commit a step; see `Slab.commit`.

        Args:
            key: of the sequence; it has a slot, or `full` was false.
            tag: its id.
            saved: the step.
            data: the same, packed; it fits.
        """
        now, slot = self._clock(), self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._room()
            self._slab.claim(slot, key, tag)
        self._unearth(key)
        self._slab.commit(slot, data, now)
        if saved.ended:
            self._dig(key, _Grave(Mark.ENDED, now), saved)
        else:
            self.live[key] = now
        if key in self._busy:
            (self._reserved.add if saved.ended else self._reserved.discard)(key)
        self._slab.count(len(self.live))

    def bury(self, key: bytes, mark: Mark, to: int = 0) -> None:
        """Make a tombstone of a record; its age counts from now on."""
        slot, now = self._slots[key], self._clock()
        self._slab.touch(slot, now)
        self._slab.mark(slot, mark, to)
        self._unearth(key)
        self._dig(key, _Grave(mark, now), self._slab.own(slot, answer=False))
        self._slab.count(len(self.live))

    def _unearth(self, key: bytes) -> None:
        for records in (self.live, *self._graves):
            records.pop(key, None)

    def _dig(self, key: bytes, grave: _Grave, said: Summary | Saved) -> None:
        native = self._native if said.since == said.steps else self._arrived
        (self._released if grave.mark is Mark.RELEASED else native)[key] = grave

    def _room(self) -> int:
        """A slot that is free, or that of a tombstone."""
        if self._free:
            return self._free.pop()
        key = self._given_up()
        self._unearth(key)
        return self._slots.pop(key)

    def _given_up(self) -> bytes:
        """The tombstone that is missed least.

        Who says UNKNOWN of a sequence that came from elsewhere and ended has its old state fetched again from where
        it was released, if that is not too old. So these stay, as long as they are younger than `idle` and there
        is any that came from nowhere; and a released one stays, whose state may be in nobody's hand.
        """
        oldest = [next(((g.at, key) for key, g in d.items() if key not in self._busy), None) for d in self._graves]
        released, arrived, native = oldest
        before = self._clock() - self._idle
        if released is not None and released[0] < before:
            return released[1]
        ended = [one for one in (arrived, native) if one is not None]
        if ended and min(ended)[0] < before:
            return min(ended)[1]
        if native is not None:
            return native[1]
        return min(one for one in (arrived, released) if one is not None)[1]
