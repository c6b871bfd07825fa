"""Controllers that end at a point of their life, and what must hold of the next one.

A *point* is the moment just before or just after a journal transaction or a call to the fleet; there the controller
ends at once. The next term finds the journal and either the living processes (a controller killed) or none (a machine
restarted).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from changeover.errors import ChangeoverError
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.driver import Driver
from changeover.rollout.offer import Offer
from changeover.transport.control import RoutingTable, encode
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, WORD, ScriptedJournal, Stage, act, play, until

Offers = dict[int, Offer]
_FEWER = 8
"""Points that a life may have less than another: certificates that fall together are written once."""


class Killed(BaseException):
    """The process is gone: nothing may catch this."""


class Killer:
    """Counts points, and from one of them on, told by its number or its name, lets nothing more happen."""

    def __init__(self, at: int | str = 0) -> None:
        self.at = at
        self.points: list[str] = []
        self.killed = False

    def __call__(self, what: str) -> None:
        self.points.append(what)
        self.killed = self.killed or self.at in (what, len(self.points))
        if self.killed:
            raise Killed(what)

    def watch(self, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
        fleet.point = self
        journal.before = lambda number: self(f"before write {number}")
        journal.after = lambda number: self(f"after write {number}")


def offers_of(stage: Stage) -> Offers:
    """Version 2 has a short window, version 4 a long one."""
    return {version: stage.offer(version, window=60 if version == 4 else 0.01) for version in (1, 2, 3, 4)}


async def life(driver: Driver, offers: Offers) -> None:
    """Version 1, then 2 and the end of its window, 3 refused, 4 promoted and taken back."""
    await driver.offer(offers[1])
    await driver.offer(offers[2])  # its source is not known yet when it is recorded
    await driver.idle()
    await until(lambda: driver.standby is None)
    await driver.offer(offers[3])
    await driver.offer(offers[4])
    await driver.idle()
    await driver.undo()
    await driver.idle()

    # Certificates are written beside it; what is left then is the driver, this script and who waits for both.
    await until(lambda: len(asyncio.all_tasks()) == 3)


@dataclass(frozen=True)
class Left:
    """What a killed controller left: the table in force by the journal and by the page, and what was not finished."""

    committed: RoutingTable | None
    page: RoutingTable | None
    unfinished: list[RolloutRecord]

    @property
    def decided(self) -> RoutingTable | None:
        """The later of both."""
        known = [table for table in (self.committed, self.page) if table is not None]
        return max(known, key=lambda table: table.epoch, default=None)


def left_by(fleet: MemoryFleet, journal: ScriptedJournal) -> Left:
    committed = journal.epochs.committed(MODEL)
    table = msgspec.json.decode(committed.table, type=RoutingTable) if committed else None
    return Left(table, fleet.in_force(WORD), journal.rollouts.unfinished())


def version_of(table: RoutingTable, *, standby: bool = False) -> str:
    number = table.standby if standby else table.active
    return next(entry.version for entry in table.loadings if entry.loading == number)


def expected(left: Left, *, cold: bool) -> str | None:
    """The version that must serve when everything unfinished has gone on, by the rules of the design."""
    table = left.committed if cold else left.decided
    serving = version_of(table) if table else None
    for record in left.unfinished:
        target = str(record.target.version)
        if record.phase in ("pending", "validating", "promoting") and target != serving:
            serving = serving if target == "3" else target
        elif record.phase == "rolling_back" and target == serving:
            assert table is not None
            serving = version_of(table, standby=True)
    return serving


async def settled(driver: Driver) -> None:
    """Until nothing is left but perhaps a window of a minute, and what was drained is recorded."""

    def ended() -> bool:
        return all((r.target.version, r.phase) == (4, "watching") for r in driver.journal.rollouts.unfinished())

    def let_go() -> bool:
        live = driver.loader.live
        states = {record.id: record.state for record in driver.journal.loadings.of(MODEL)}
        recorded = all(number in live or state in ("released", "failed") for number, state in states.items())
        return recorded and all(driver.role(loading) != "none" for loading in live.values())

    await driver.idle()
    await until(lambda: ended() and not driver.switch.owes)
    await driver.idle()
    await until(let_go)


def check(driver: Driver, fleet: MemoryFleet, serving: str | None) -> None:
    """What serves is what was decided, it is proven and recorded, and nothing else has a worker."""
    journal, table = driver.journal, fleet.in_force(WORD)
    assert not fleet.broken
    assert all(intent.term == driver.switch.term for intent in journal.epochs.intents(MODEL))
    if serving is None:
        assert table is None
        assert driver.active is None
        assert not fleet.alive
        return
    assert table is not None
    assert version_of(table) == serving
    assert driver.active is not None
    assert str(driver.active.version) == serving
    assert table.active in fleet.alive
    assert table.active in fleet.proven
    assert set(fleet.alive) == {entry.loading for entry in table.loadings}
    committed = journal.epochs.committed(MODEL)
    assert committed is not None
    assert committed.epoch == table.epoch == fleet.epoch(WORD)
    assert committed.table == encode(table)
    states = {record.id: record.state for record in journal.loadings.of(MODEL)}
    assert {number for number, state in states.items() if state not in ("released", "failed")} == set(fleet.alive)


def killed_at(
    at: int | str, stage: Stage, offers: Offers, fleet: MemoryFleet, path: str
) -> tuple[Left, list[str], int]:
    """Live until a point; what is left, the points passed, and the highest epoch that was taken."""
    killer = Killer(at)
    with stage.journal(path) as journal:
        driver = stage.driver(fleet, journal)
        killer.watch(fleet, journal)
        try:
            asyncio.run(act(driver, lambda d: life(d, offers)))
        except (Killed, ChangeoverError):  # whoever asked dies with it, or sees a driver that is dying
            assert at
        assert killer.killed == bool(at) or (isinstance(at, int) and at - len(killer.points) <= _FEWER)
        journal.before = journal.after = lambda _: None
        left = left_by(fleet, journal)
        highest = journal.epochs.allocate(MODEL)[0]
    return left, killer.points, highest


def recovered(stage: Stage, fleet: MemoryFleet, path: str, then: Callable[[Driver], None]) -> None:
    """The next term, until all is settled and what is asked of it is looked at."""

    async def script(driver: Driver) -> None:
        await settled(driver)
        then(driver)

    fleet.new_term()
    with stage.journal(path) as journal:
        play(stage.driver(fleet, journal), script)


def killed_in_recovery(at: int, stage: Stage, fleet: MemoryFleet, path: str) -> Left | None:
    """A next term that is killed at one of its own points; `None` when it has fewer."""
    killer = Killer(at)
    fleet.new_term()
    with stage.journal(path) as journal:
        driver = stage.driver(fleet, journal)
        killer.watch(fleet, journal)
        with contextlib.suppress(Killed, ChangeoverError):
            asyncio.run(act(driver, settled))
        journal.before = journal.after = lambda _: None
        return left_by(fleet, journal) if killer.killed else None


def restarted(fleet: MemoryFleet, *, cold: bool) -> MemoryFleet:
    """The processes as a next controller finds them."""
    return MemoryFleet(fates=fleet.fates) if cold else fleet


def lived(stage: Stage, fleet: MemoryFleet, script: Callable[[Driver], Awaitable[None]]) -> None:
    """A term that ends where its script does."""
    fleet.new_term()
    with stage.journal("one.sqlite") as journal:
        play(stage.driver(fleet, journal), script)
