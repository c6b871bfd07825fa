"""The switch of the design (section 5) as a small world: every step of every process, every crash between two steps.

Two gateways, versions A and B. The controller moves all traffic from A to B with the way back prepared, then back, or
on to a table that no longer names the old version, and releases that one. `Rules` switches single safeguards off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

LAST_EPOCH = 4


class Rules(NamedTuple):
    """Safeguards of the protocol; the model with one of them off must fail."""

    prepare_before_commit: bool = True
    join_loads_later_tables: bool = True
    commit_waits_for_joining: bool = True
    drain_by_acknowledgements: bool = True
    drain_waits_for_joining: bool = True
    acknowledge_between_picks: bool = True
    dead_gateways_are_seen: bool = True
    epochs_are_never_reused: bool = True
    page_never_goes_back: bool = True


class Table(NamedTuple):
    epoch: int
    serves: str
    names: str


class Gateway(NamedTuple):
    accepting: bool = False
    tables: tuple[Table, ...] = ()
    reading: int = 0  # epoch read from the page by a pick under way
    leases: str = ""  # versions, each once
    acked: int = 0  # newest epoch acknowledged without a lease on a version that its table does not name

    def table(self, epoch: int) -> Table | None:
        for table in self.tables:
            if table.epoch == epoch:
                return table
        return None


START = Table(1, "A", "A")


class World(NamedTuple):
    # What may still happen: crashes of the controller, deaths of gateways, spells of a full disk.
    crashes: int
    deaths: int
    failures: int
    # Journal: on disk, outlives everything.
    committed: Table = START
    next_epoch: int = 2
    writable: bool = True
    # Page and table store: outlive controller and gateways.
    page: int = 1
    store: tuple[Table, ...] = (START,)
    # Controller.
    step: str = "idle"
    forward: Table | None = None
    back: Table | None = None
    owes: bool = False
    # The others.
    gateways: tuple[Gateway, ...] = (Gateway(True, (START,), acked=1),) * 2
    ghosts: str = ""  # versions whose worker has not yet seen a dead gateway's channel end
    released: str = ""

    @property
    def table(self) -> Table:
        for table in self.store:
            if table.epoch == self.page:
                return table
        raise AssertionError("the page names a table that is not in the store")


_GATEWAYS = World._fields.index("gateways")
Step = tuple[str, World]


def following(world: World, rules: Rules) -> Iterator[Step]:
    """All worlds that one step of anybody leads to."""
    if world.step == "dead":
        yield "controller recovers", _recover(world, rules)
    else:
        yield from _controller(world, rules)
        if world.crashes:
            dead = world._replace(step="dead", forward=None, back=None, owes=False, crashes=world.crashes - 1)
            yield "controller dies", dead
    for index, gateway in enumerate(world.gateways):
        if gateway in world.gateways[:index]:
            continue  # what it may do the other may do, and that leads to the same worlds
        for name, changed in _gateway(gateway, world, rules):
            yield name, _among(world, index, changed)
        if world.deaths:
            lost = world._replace(gateways=_put(world, index, Gateway()), ghosts=_joined(world.ghosts + gateway.leases))
            yield "gateway dies, another starts", lost._replace(deaths=world.deaths - 1)
    for version in world.ghosts:
        yield "worker sees a channel end", world._replace(ghosts=world.ghosts.replace(version, ""))
    if world.writable and world.failures and (world.step == "published" or world.back):
        yield "disk full", world._replace(writable=False, failures=world.failures - 1)
    if not world.writable:
        yield "disk has room", world._replace(writable=True)


def _put(world: World, index: int, gateway: Gateway) -> tuple[Gateway, ...]:
    others = world.gateways[:index] + world.gateways[index + 1 :]
    return tuple(sorted((*others, gateway)))  # gateways are alike: their order is no difference


def _among(world: World, index: int, gateway: Gateway) -> World:
    """As `_replace`, in a third of its time: most of the steps are a gateway's."""
    return World._make((*world[:_GATEWAYS], _put(world, index, gateway), *world[_GATEWAYS + 1 :]))


def _joined(letters: str) -> str:
    return "".join(sorted(set(letters)))


def _controller(world: World, rules: Rules) -> Iterator[Step]:
    if world.step == "idle":
        if world.owes and world.writable:
            yield "debt is paid", world._replace(committed=world.table, owes=False)
        if world.writable and not world.owes:
            for serves, names in _goals(world):
                if world.next_epoch <= LAST_EPOCH:
                    yield f"intend {serves} of {names}", _intend(world, serves, names)
        if world.back is not None:
            yield from _move_back(world, world.back)
        yield from _release(world, rules)
    elif world.step == "intended":
        yield "publish, prepare", world._replace(step="published", store=_published(world))
    elif world.step == "published" and world.forward is not None and world.writable:
        if not rules.prepare_before_commit or all(
            all(gateway.table(table.epoch) for table in _new(world))
            for gateway in world.gateways
            if gateway.accepting or rules.commit_waits_for_joining
        ):
            yield "commit", world._replace(step="decided", committed=world.forward)
    elif world.step == "decided" and world.forward is not None:
        yield "store", world._replace(step="idle", page=world.forward.epoch, forward=None)


def _goals(world: World) -> list[tuple[str, str]]:
    serves, names = world.table.serves, world.table.names
    if names == "AB":
        return [(serves, serves), ("A" if serves == "B" else "B", "AB")]
    return [("B", "AB")] if serves == "A" and not world.released else []


def _new(world: World) -> tuple[Table, ...]:
    return tuple(table for table in (world.forward, world.back) if table is not None)


def _published(world: World) -> tuple[Table, ...]:
    epochs = {table.epoch for table in _new(world)}
    return (*(table for table in world.store if table.epoch not in epochs), *_new(world))


def _intend(world: World, serves: str, names: str) -> World:
    epoch = world.next_epoch
    forward = Table(epoch, serves, names)
    back = Table(epoch + 1, world.table.serves, names) if names == "AB" and epoch < LAST_EPOCH else None
    after = epoch + 1 if back is None else epoch + 2
    return world._replace(step="intended", forward=forward, back=back, next_epoch=after)


def _move_back(world: World, back: Table) -> Iterator[Step]:
    if world.writable:
        yield "commit the way back", world._replace(step="decided", committed=back, forward=back, back=None)
    else:
        yield "store the way back, owe it", world._replace(page=back.epoch, back=None, owes=True)


def _release(world: World, rules: Rules) -> Iterator[Step]:
    for version in {"A", "B"} - set(world.table.names + world.released):
        # One that has never acknowledged may be unknown yet as one in service, and hold leases all the same.
        asked = [gateway for gateway in world.gateways if gateway.acked or rules.drain_waits_for_joining]
        acknowledged = all(gateway.acked >= world.page for gateway in asked)
        seen = version not in world.ghosts or not rules.dead_gateways_are_seen
        if (acknowledged or not rules.drain_by_acknowledgements) and seen and world.page > 1:
            yield f"release {version}", world._replace(released=world.released + version)


def _recover(world: World, rules: Rules) -> World:
    fresh = world._replace(step="idle")
    if not rules.epochs_are_never_reused:
        fresh = fresh._replace(next_epoch=max(world.committed.epoch, world.page) + 1)
    if world.committed.epoch > world.page or not rules.page_never_goes_back:
        return fresh._replace(page=world.committed.epoch)
    if world.page > world.committed.epoch:
        return fresh._replace(committed=world.table) if world.writable else fresh._replace(owes=True)
    return fresh


def _gateway(gateway: Gateway, world: World, rules: Rules) -> Iterator[tuple[str, Gateway]]:
    if not gateway.tables:
        later = tuple(table for table in world.store if table.epoch >= world.page)
        yield "gateway joins", gateway._replace(tables=later if rules.join_loads_later_tables else (world.table,))
        return
    missing = tuple(table for table in _new(world) if gateway.table(table.epoch) is None)
    if world.step == "published" and missing:
        yield "gateway prepares", gateway._replace(tables=gateway.tables + missing)
    if not gateway.accepting:
        yield "gateway accepts", gateway._replace(accepting=True)
    elif not gateway.reading:
        if world.table.serves not in gateway.leases:  # else the pick changes nothing: fewer worlds to search
            yield "gateway reads the page", gateway._replace(reading=world.page)
    elif table := gateway.table(gateway.reading):
        yield "gateway picks", gateway._replace(reading=0, leases=_joined(gateway.leases + table.serves))
    for version in gateway.leases:
        yield "gateway ends a lease", gateway._replace(leases=gateway.leases.replace(version, ""))
    clean = set(gateway.leases) <= set(world.table.names)
    if gateway.acked < world.page and clean and not (gateway.reading and rules.acknowledge_between_picks):
        kept = tuple(table for table in gateway.tables if table.epoch >= (gateway.reading or world.page))
        yield "gateway acknowledges", gateway._replace(acked=world.page, tables=kept)


def broken(before: World, after: World) -> str | None:
    """The promise that a step broke, or `None`."""
    for gateway in after.gateways:
        if gateway.accepting and gateway.table(after.page) is None:
            return "the page names a table that a gateway has not got"
        if gateway.accepting and gateway.table(after.page) != after.table:
            return "a gateway has another table under the page's epoch"
        if gateway.reading and gateway.table(gateway.reading) is None:
            return "a gateway picks from a table that it has not got"
        if set(gateway.leases) & set(after.released):
            return "a released version has a lease"
    if set(after.ghosts) & set(after.released):
        return "a released version's worker still had a dead gateway's requests"
    if set(after.released) & set(after.table.names + after.committed.names):
        return "a released version is named"
    if after.page < before.page or after.committed.epoch < before.committed.epoch:
        return "an epoch went back"
    if after.step == "idle" and not after.owes and after.page != after.committed.epoch:
        return "page and journal differ although nothing is under way"
    return None
