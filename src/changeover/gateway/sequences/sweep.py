"""The sweeper: idle sequences leave loadings that have no traffic any more, and those are held until all have left.

What is in use moves at its next step; this is for the rest, a few at a time and behind the steps that stand in line.
Each gateway sweeps its share of the keys, and what two of them move at once is moved once (see `course`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from changeover.gateway.sequences.orphans import Orphans
from changeover.gateway.sequences.request import Stray
from changeover.gateway.sequences.where import moves
from changeover.sequences.wire import MOST_ID_BYTES, identity, sequence_key

if TYPE_CHECKING:
    from changeover.gateway.models import Models
    from changeover.gateway.router import Model, Table, Target
    from changeover.gateway.sequences.step import Step

AT_ONCE: Final = 8
"""Moves of one loading under way."""
_LOOK: Final = 0.1
"""Seconds between two looks at the loadings."""
_AGAIN: Final = 5.0
"""Seconds until a record that did not move is tried again."""
SLOTS: Final = 256
"""Of a slab that are looked at in one go: the loop has other things to do."""
GRACE: Final = 1.0
"""Seconds that an empty loading is held: a step on its way there may come from another gateway."""
log = logging.getLogger("changeover.gateway")


class House(Protocol):
    """Who moves: see `Sequences`."""

    def move(self, model: Model, stray: Stray) -> Step | None:
        """Begin to move a record; None when somebody is at it."""


class _Sweep:
    """What is under way for one loading."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.held = False
        self.moving: list[Step] = []
        self.tried: dict[bytes, float] = {}
        self.at = 0
        """The slot from which the next look goes on."""
        self.left = False
        """Whether this round through the slab has found a record to be moved."""
        self.orphans: Orphans | None = None
        self._empty: float | None = None

    @property
    def busy(self) -> bool:
        """Whether the next look is due at the next tick."""
        return bool(self.moving) or self.at > 0 or (self.orphans is not None and not self.orphans.over)

    def is_over(self, now: float) -> bool:
        """Whether nothing lives there, and nobody brings anything. To be asked when no live record is seen."""
        self.at = 0
        if not self.held:
            return True
        if self.target.leases or self.target.backing > 1 or self._empty is None:
            self._empty = now
        return now - self._empty >= GRACE and self.orphans is not None and self.orphans.over and not self.moving

    def lives(self) -> None:
        """A live record was seen; when it has left, what is on its way has to be looked for anew."""
        self._empty = self.orphans = None

    def stop_holding(self) -> None:
        """The loading may be forgotten as soon as nothing else needs it."""
        if self.held:
            self.held = False
            self.target.stand_down()


class Sweeper:
    """Looks ten times a second which loadings have live sequences and no traffic."""

    def __init__(self, models: Models, house: House) -> None:
        self._models = models
        self._house = house
        self._sweeps: dict[int, _Sweep] = {}
        self._next = 0.0

    def held(self, word: int) -> list[Target]:
        """Loadings of a model that no table names and that have live sequences; mostly none."""
        if not self._sweeps:
            return []
        return [s.target for s in self._sweeps.values() if s.held and s.target.word == word]

    def hold(self, target: Target) -> None:
        """No table names it any more. It stays, as if a request were there, while sequences live in it, or may soon."""
        if target.sequence is None or (target.slab is None and not _comes(target)):
            return
        sweep = self._sweeps.setdefault(target.loading, _Sweep(target))
        if not sweep.held:
            sweep.held = True
            target.backing += 1

    def check(self, now: float) -> None:
        """Look at all loadings; more often while something moves."""
        if now < self._next and not any(s.busy for s in self._sweeps.values()):
            return
        self._next = now + _LOOK
        for loading in [n for n in self._sweeps if n not in self._models.targets]:
            del self._sweeps[loading]
        for model in list(self._models.by_name.values()):
            if model.stateful or self.held(model.word):
                self._look(model, now)

    def _look(self, model: Model, now: float) -> None:
        table = model.table
        if table is None:
            return
        for target in {*table.targets.values(), *self.held(model.word)}:
            try:
                self._look_at(model, table, target, now)
            except Exception:  # what a slab says is a worker's: nothing of it may end this process
                log.exception("the sequences of %r cannot be looked at", target)

    def _look_at(self, model: Model, table: Table, target: Target, now: float) -> None:
        if _comes(target):
            return
        sweep = self._sweeps.get(target.loading)
        of_no_use = target.loading in table.carrying or target.slab is None or not table.stateful
        if not of_no_use and target.slab is not None and target.slab.live:
            sweep = sweep or self._sweeps.setdefault(target.loading, _Sweep(target))
            sweep.lives()
            self._sweep(model, sweep, now)
        elif sweep is not None and (of_no_use or sweep.is_over(now)):
            del self._sweeps[target.loading]
            sweep.stop_holding()
        elif sweep is not None:
            self._collect(model, sweep)

    def _collect(self, model: Model, sweep: _Sweep) -> None:
        """Before a loading is let go: what was on its way from there, or to there, is carried on."""
        sweep.moving = [step for step in sweep.moving if not step.over]
        if sweep.orphans is None:
            known = [t for t in self._models.targets.values() if t.word == sweep.target.word]
            sweep.orphans = Orphans(sweep.target, known, SLOTS)
        if not sweep.orphans.over and len(sweep.moving) < AT_ONCE:
            for stray in sweep.orphans.look():
                step = self._house.move(model, stray) if self._is_mine(stray.key, stray.tag) else None
                sweep.moving += [step] if step is not None else []

    def _sweep(self, model: Model, sweep: _Sweep, now: float) -> None:
        """Begin some moves; a dead loading is done when each of its records was tried."""
        target = sweep.target
        sweep.moving = [step for step in sweep.moving if not step.over]
        if not moves(model, target):
            if target.batcher.gone:
                sweep.stop_holding()  # what is there is lost, and a step that asks for it hears so
            return
        slots = target.slab.geometry.slots if target.slab is not None else 0
        end = min(sweep.at + SLOTS, slots)
        again = inf if target.batcher.gone else _AGAIN  # what a dead worker's slab holds never leaves it
        for key, tag in self._mine(target, range(sweep.at, end)):
            tried = sweep.tried.get(key)
            if tried is not None and tried + again > now:
                continue
            if len(sweep.moving) >= AT_ONCE:
                return
            sweep.left = True
            step = self._house.move(model, Stray(key, tag, target.loading))
            if step is not None:
                sweep.tried[key] = now
                sweep.moving.append(step)
        sweep.at = end
        if end == slots:
            if target.batcher.gone and not sweep.left and not sweep.moving:
                sweep.stop_holding()
            sweep.at, sweep.left = 0, False

    def _mine(self, target: Target, slots: range) -> Iterator[tuple[bytes, bytes]]:
        """Keys and tags of this gateway's share of what lives in these slots of a slab."""
        for key, tag in target.slab.live_keys(slots) if target.slab is not None else ():
            if self._is_mine(key, tag):
                yield key, tag

    def _is_mine(self, key: bytes, tag: bytes) -> bool:
        index, gateways = self._models.place
        return int.from_bytes(key[:4]) % gateways == index and _sound(key, tag)


def _comes(target: Target) -> bool:
    """Whether its slab is on the way, with its first channel: this gateway is new, and knows nothing of it yet."""
    return target.slab is None and not target.batcher.connected and not target.batcher.gone


def _sound(key: bytes, tag: bytes) -> bool:
    """Whether these are a sequence's. A worker writes them, and another one, which may be healthy, gets them."""
    try:
        identity(tag)
    except ValueError:
        return False
    return len(tag) <= MOST_ID_BYTES + 1 and sequence_key(tag) == key
