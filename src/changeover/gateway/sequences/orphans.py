"""States that were handed out and never arrived: their carrier died, and the sequence's client is idle.

The client's next step would fetch the state again, as long as both loadings are there. So before one of them is let go
the slabs are looked through for what was released from it, or to it, and is younger where it was than where it went.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic_ns
from typing import TYPE_CHECKING

from changeover.errors import Internal
from changeover.gateway.sequences.request import Stray

if TYPE_CHECKING:
    from changeover.gateway.router import Target
    from changeover.sequences.slab import Record, Slab


class Orphans:
    """One round through the slabs of a model, a part at a time.

    Args:
        leaving: the loading that is to be let go.
        targets: all of its model that this gateway knows.
        part: slots of one look.
    """

    def __init__(self, leaving: Target, targets: Iterable[Target], part: int) -> None:
        self._leaving = leaving.loading
        self._targets = {t.loading: t for t in targets if t.slab is not None and t.sequence is not None}
        self._places: dict[int, dict[bytes, int]] = {}
        self._parts = _parts(self._targets.values(), part)
        self.over = False
        """Whether all was looked at."""

    def look(self) -> list[Stray]:
        """What the next part has."""
        target, slots = next(self._parts, (None, range(0)))
        if target is None or target.slab is None or target.sequence is None:
            self.over = True
            return []
        young = monotonic_ns() - target.sequence.idle * 1e9
        return [
            Stray(record.key, record.tag, target.loading, record.moved_to)
            for record in target.slab.released(slots)
            if record.last_use >= young
            and self._leaving in (target.loading, record.moved_to)
            and record.moved_to in self._targets
            and not self._arrived(record)
        ]

    def _arrived(self, record: Record) -> bool:
        """Whether the loading that the state went to has it, or what has come of it."""
        slab = self._targets[record.moved_to].slab
        if slab is None:
            return False
        places = self._places.get(record.moved_to)
        if places is None:
            places = self._places[record.moved_to] = slab.places()
        slot = places.get(record.key)
        return slot is not None and _generation(slab, slot) > record.summary.generation


def _generation(slab: Slab, slot: int) -> int:
    try:
        record = slab.record(slot)
    except Internal:
        return 0
    return record.summary.generation if record is not None else 0


def _parts(targets: Iterable[Target], part: int) -> Iterator[tuple[Target, range]]:
    for target in targets:
        slots = target.slab.geometry.slots if target.slab is not None else 0
        for at in range(0, slots, part):
            yield target, range(at, min(at + part, slots))
