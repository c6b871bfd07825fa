"""Drawing routing tables (pure): who gets which buckets, for each situation of a rollout.

A candidate takes the first buckets, so that a ramp only adds to them and no key flips back; what is held back from a
promoted version is the last ones. `active` is always the version that everything can go back to, or has gone to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from changeover.transport.control import BUCKETS, LoadingEntry, RoutingTable


@dataclass(frozen=True, slots=True)
class Share:
    """What a step gives to the candidate.

    Attributes:
        weight: buckets of 10,000.
        step: name of it.
        mirror: of 10,000 requests, how many are copied.
        shield: a failed answer is replaced by the active version's.
        finite: an answer with NaN or infinity counts as failed.
    """

    weight: int
    step: str
    mirror: int = 0
    shield: bool = True
    finite: bool = True


@dataclass(frozen=True, slots=True)
class Watch:
    """How a promoted version is watched.

    Attributes:
        holdback: buckets that stay on the previous one, as a control; copies of their requests are compared.
        finite: as in `Share`, of either version: nobody replaces such an answer now, but it is counted.
    """

    holdback: int = 0
    finite: bool = False


UNWATCHED = Watch()


@dataclass(frozen=True, slots=True)
class Draft:
    """Where a table is for: its model, its word in the route page, and its epoch."""

    model: str
    word: int
    epoch: int


def all_to(
    draft: Draft,
    active: LoadingEntry,
    *,
    standby: LoadingEntry | None = None,
    candidate: LoadingEntry | None = None,
    watch: Watch = UNWATCHED,
) -> RoutingTable:
    """All buckets to one loading, but for those that a standby holds back.

    A standby or candidate is named, so it is kept warm and may be asked for by its version.
    """
    kept = watch.holdback if standby is not None else 0
    others = [entry for entry in (standby, candidate) if entry is not None]
    return RoutingTable(
        model=draft.model,
        word=draft.word,
        epoch=draft.epoch,
        buckets=_runs((BUCKETS - kept, active), (kept, standby)),
        loadings=[active, *others],
        active=active.loading,
        standby=None if standby is None else standby.loading,
        candidate=None if candidate is None else candidate.loading,
        finite=watch.finite,
        mirror=BUCKETS if kept else 0,
    )


def nobody(draft: Draft) -> RoutingTable:
    """No loading at all: the model is unloaded."""
    return RoutingTable(model=draft.model, word=draft.word, epoch=draft.epoch, buckets=[], loadings=[], active=0)


def split(draft: Draft, active: LoadingEntry, candidate: LoadingEntry, share: Share) -> RoutingTable:
    """The candidate's share to the candidate, all else to the active loading."""
    return RoutingTable(
        model=draft.model,
        word=draft.word,
        epoch=draft.epoch,
        buckets=_runs((share.weight, candidate), (BUCKETS - share.weight, active)),
        loadings=[active, candidate],
        active=active.loading,
        candidate=candidate.loading,
        shield=share.shield,
        finite=share.finite,
        mirror=share.mirror,
        step=share.step,
    )


def weight_of(table: RoutingTable, loading: int) -> int:
    """Buckets of a loading."""
    return sum(count for count, number in table.buckets if number == loading)


def with_draining(before: RoutingTable | None, drawn: Sequence[RoutingTable], living: set[int]) -> list[RoutingTable]:
    """The same tables, each with what the ones before it named or let drain and it does not name.

    Args:
        before: in force.
        drawn: tables that follow it, one after the other.
        living: loadings that have a worker; the others are released.
    """
    known = {e.loading: e for e in (*before.loadings, *before.draining)} if before is not None else {}
    made = []
    for table in drawn:
        named = {entry.loading for entry in table.loadings}
        left = [entry for number, entry in known.items() if number in living - named]
        made.append(replace(table, draining=left))
        known.update((entry.loading, entry) for entry in table.loadings)
    return made


def _runs(*parts: tuple[int, LoadingEntry | None]) -> list[tuple[int, int]]:
    return [(count, entry.loading) for count, entry in parts if count and entry is not None]
