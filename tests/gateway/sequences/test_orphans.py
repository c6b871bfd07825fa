"""States that were handed out and never arrived."""

from __future__ import annotations

import os
from dataclasses import replace
from time import monotonic_ns
from typing import Any

import pytest

from changeover.gateway.router import Target
from changeover.gateway.sequences.orphans import Orphans
from changeover.gateway.sequences.request import Stray
from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token
from changeover.sequences.slab import Geometry, Mark, Slab
from changeover.sequences.wire import sequence_key, sequence_tag
from changeover.transport.page import sealed_memfd
from tests.gateway.sequences.loadings import state
from tests.gateway.sequences.stateful import stateful

OLD, NEW, OTHER = 1, 2, 3
TAG = sequence_tag(7)
KEY = sequence_key(TAG)
SAVED = Saved(Token(1, 2), NO_DIGEST, Flag(0), 10, 3, 3, state(6))


def target(loading: int) -> Any:
    """A loading with an empty slab of 8 slots that the test may write."""
    geometry = Geometry(8, 512)
    fd = sealed_memfd("slab", geometry.total)
    found = Target(stateful(loading, str(loading)), 1, None)  # type: ignore[arg-type]
    found.slab = Slab(fd, geometry)
    os.close(fd)
    return found


def put(where: Any, slot: int, generation: int, to: int | None = None, used: int | None = None) -> None:
    """A record, released when `to` says where."""
    where.slab.claim(slot, KEY, TAG)
    where.slab.commit(slot, replace(SAVED, generation=generation).pack(), used or monotonic_ns())
    if to is not None:
        where.slab.mark(slot, Mark.RELEASED, to)


def found(leaving: Any, *others: Any) -> list[Stray]:
    """All that a round in parts of three slots finds."""
    orphans = Orphans(leaving, [leaving, *others], 3)
    told = []
    for _ in range(20):
        told += orphans.look()
    assert orphans.over
    return told


@pytest.mark.parametrize("leaving", [OLD, NEW])
def test_what_never_arrived_is_found_from_either_side(leaving: int) -> None:
    """Whichever of the two goes away; a third one that goes has nothing to do with it."""
    targets = {n: target(n) for n in (OLD, NEW, OTHER)}
    put(targets[OLD], 5, 10, NEW)
    others = [t for n, t in targets.items() if n != leaving]
    assert found(targets[leaving], *others) == [Stray(KEY, TAG, OLD, NEW)]
    assert found(targets[OTHER], targets[OLD], targets[NEW]) == []


@pytest.mark.parametrize(("there", "lost"), [(9, True), (10, True), (11, False), (12, False)])
def test_what_is_younger_where_it_went_has_arrived(there: int, lost: bool) -> None:
    """A tombstone of an earlier stay is older."""
    old, new = target(OLD), target(NEW)
    put(old, 5, 10, NEW)
    put(new, 1, there, OTHER)
    assert bool(found(old, new)) is lost


def test_what_cannot_be_carried_on_is_left() -> None:
    """It has expired, or went to a loading that is gone, or is alive."""
    old, new = target(OLD), target(NEW)
    put(old, 5, 10, NEW, used=monotonic_ns() - int(61e9))
    assert found(old, new) == []
    put(old, 5, 10, OTHER)
    assert found(old, new) == []
    put(old, 5, 10)
    assert found(old, new) == []
