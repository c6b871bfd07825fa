"""Where a sequence's record may be and where it belongs, as the table in force and the loadings still held say. Pure.

The goal is the bucket of the sequence's key, so all gateways agree under one epoch and a ramp moves a sequence once.
What becomes of a record elsewhere is the newer version's `on_changeover`, on the way there and on the way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from changeover.errors import InvalidRequest, NotFound
from changeover.gateway.sequences.course import Map, Way
from changeover.gateway.strata import bucket_of

if TYPE_CHECKING:
    from changeover.gateway.router import Model, Table, Target
    from changeover.gateway.sequences.line import Line

_WAYS = {"drain": Way.STAY, "reset": Way.RESET}


class Where(NamedTuple):
    """The map, and beside it the epoch that drew it and who rescues a step that the goal fails.

    Attributes:
        keyed: the sequence is the unit of evidence. Where failures are shielded it is not: a sequence leaves the
            candidate with its first one, so its failures are one at most.
    """

    map: Map
    epoch: int
    rescue: int | None
    keyed: bool

    def towards(self, goal: int) -> Where:
        """The same for a record that goes to one of the places, whatever the table wants."""
        ways = {place: Way.MOVE for place in self.map.places if place != goal}
        return self._replace(map=replace(self.map, goal=goal, ways=ways), rescue=None)


def where(model: Model, held: Iterable[Target], line: Line, pinned: str | None, *, begins: bool) -> Where:
    """Look at the table in force.

    Args:
        model: whose sequence it is.
        held: loadings of this model that no table names, and that have live sequences still.
        line: of the sequence.
        pinned: the version or label that the client named: there a sequence begins, and it is not moved.
        begins: whether it begins.

    Raises:
        ModelNotReady: no table is in force.
        NotFound: the model is unloaded, or the version that the client named is not served.
        InvalidRequest: no version that the table names keeps sequences (`sequence_unknown`).
    """
    table = model.refresh()
    stateful = {t.loading: t for t in (*table.targets.values(), *held) if t.sequence is not None}
    binding = frozenset(table.carrying) & stateful.keys()
    goal = _named(model, table, pinned) if pinned is not None and begins else _bucket(model, table, line, begins=begins)
    if goal.loading not in stateful:
        goal = _any_named(model, table, stateful)
    ways = {n: _way(t, goal) for n, t in stateful.items() if t is not goal}
    owner = line.owner if line.owner in stateful else None
    if pinned is not None:  # whichever gateway it began at
        ways.update((n, Way.STAY) for n in ways if n in table.targets)
    elif owner is not None and owner in ways and line.stays and owner in binding:
        ways[owner] = Way.STAY
    rescue = table.active.loading if goal is table.shielded and table.active.loading in stateful else None
    found = Map(goal.loading, tuple(stateful), ways, binding, owner)
    return Where(found, table.epoch, rescue, table.shielded is None)


def _bucket(model: Model, table: Table, line: Line, *, begins: bool) -> Target:
    """Nothing begins at the candidate while the budget of replays is empty, as with any request.

    What is under way goes on there: each gateway has a budget of its own, and they would move it to and fro.
    """
    target = table.only or table.at(bucket_of(line.key))
    if begins and target is table.shielded and model.budget.empty:
        return table.active
    return target


def _any_named(model: Model, table: Table, stateful: dict[int, Target]) -> Target:
    for target in stateful.values():
        if target.loading in table.targets:
            return target
    what = f"model {model.name!r} keeps no sequences any more: the version that serves now has no state"
    raise InvalidRequest(what, reason="sequence_unknown")


def _named(model: Model, table: Table, version: str) -> Target:
    target = table.by_version.get(version)
    if target is None:
        raise NotFound(f"model {model.name!r} has no version {version!r} that serves", reason="version_not_found")
    return target


def _way(here: Target, goal: Target) -> Way:
    newer = max(here, goal, key=lambda t: t.loading)
    if newer.sequence is None:
        return Way.STAY
    told = newer.sequence.on_changeover if goal is newer else newer.sequence.way_back
    return _WAYS.get(told, Way.MOVE)


def moves(model: Model, target: Target) -> bool:
    """Whether what lies in a loading that has no traffic goes elsewhere by itself."""
    table = model.table
    if table is None or not table.targets or target is table.active or table.active.sequence is None:
        return False
    return _way(target, table.active) is Way.MOVE
