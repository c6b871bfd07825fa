"""Sequences kept wrongly on purpose: what shows that the tests of commits and moves can fail.

`torn`: without the commit word, a step is written over the committed one. `deaf`: a released sequence goes on.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from changeover.sequences.declared import Layout
from changeover.sequences.saved import HEAD_BYTES
from changeover.sequences.slab import Mark, Slab
from changeover.transport.control import Fault
from changeover.worker.moves import Moves
from changeover.worker.records import Records

_SLOW = 0.002
"""Seconds that a torn commit takes: a death in the midst of it is not left to luck."""


class Torn(Slab):
    """Without the commit word."""

    def commit(self, slot: int, data: bytes, now: int) -> None:
        """Write a step over the one before, its tensors first."""
        word = self._words[slot]
        if not word:
            super().commit(slot, data, now)
            return
        at = self._half_at(slot, word & 1) + 8
        self._put(at + HEAD_BYTES, data[HEAD_BYTES:])
        time.sleep(_SLOW)
        self._put(at, data[:HEAD_BYTES])


class Deaf(Records):
    """Without RELEASE: it is answered, and the sequence lives on here."""

    def _bury(self, key: bytes, mark: Mark, to: int = 0) -> None:
        if mark is not Mark.RELEASED:
            super()._bury(key, mark, to)


def records(fd: int, layout: Layout, faults: Collection[Fault] = (), moves: Moves | None = None) -> Records:
    """The records of a slab, kept as they should be but for the faults; `moves`: how states come and go."""
    kinds = {fault.kind for fault in faults}
    slab = (Torn if "torn" in kinds else Slab)(fd, layout.geometry)
    return (Deaf if "deaf" in kinds else Records)(slab, layout, moves)
