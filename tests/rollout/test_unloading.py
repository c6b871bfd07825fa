"""Unloading a model: one switch to nobody, then the drain, then the end; and crashes in between."""

from __future__ import annotations

import asyncio

import pytest

from changeover.errors import Internal
from changeover.rollout.driver import Driver
from changeover.rollout.unloading import unload
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import WORD, ScriptedJournal, Stage, play, until, unwritable
from tests.rollout.test_driver import phases


async def deployed(driver: Driver, stage: Stage, *versions: int, window: float = 0.0) -> None:
    """Version after version serves."""
    for version in versions:
        await driver.offer(stage.offer(version, window))
        await driver.idle()


def test_the_switch_comes_before_the_drain(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """The table that names nobody is in force and on record when the first worker is asked to end."""

    async def script(driver: Driver) -> None:
        await deployed(driver, stage, 1, 2, window=60.0)
        assert len(fleet.alive) == 2
        fleet.calls.clear()
        await unload(driver)
        assert fleet.alive == {}
        assert (driver.active, driver.standby, driver.candidate) == (None, None, None)
        told = [call.split()[0] for call in fleet.calls]
        assert told.index("acknowledged") < told.index("drained") < told.index("retire")
        table = fleet.in_force(WORD)
        assert table is not None
        assert (table.loadings, table.buckets) == ([], [])
        committed = journal.epochs.committed(driver.model)
        assert committed is not None
        assert committed.epoch == table.epoch
        await unload(driver)
        await deployed(driver, stage, 1)
        assert len(fleet.alive) == 1

    play(stage.driver(fleet, journal), script)
    assert fleet.broken == []


def test_a_rollout_under_way_is_ended_first(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """At a step it goes back, and what waits behind it has no turn."""

    async def script(driver: Driver) -> None:
        await deployed(driver, stage, 1)
        await driver.offer(stage.canary(2))
        await driver.idle()
        assert driver.candidate is not None
        await driver.offer(stage.offer(3))
        await unload(driver)
        await driver.idle()
        assert phases(journal) == {"1": "succeeded", "2": "rolled_back", "3": "rolled_back"}
        assert [journal.rollouts.get(f"r-{n}").record["reason"] for n in (2, 3)] == ["unloaded", "unloaded"]
        assert fleet.alive == {}

    play(stage.driver(fleet, journal), script)
    assert fleet.broken == []


def test_an_unload_that_cannot_be_recorded(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Nothing has changed: the version serves on, and the unload can be asked for again."""

    async def script(driver: Driver) -> None:
        await deployed(driver, stage, 1)
        journal.fail()
        with pytest.raises(Internal) as caught:
            await unload(driver)
        assert caught.value.reason == "journal_unwritable"
        assert (driver.active is not None, len(fleet.alive)) == (True, 1)
        journal.heal()
        await unload(driver)
        assert fleet.alive == {}

    play(stage.driver(fleet, journal), script)
    assert fleet.broken == []


@pytest.mark.parametrize("point", ["after publish", "before store", "after store", "before drained", "before retire"])
def test_the_controller_dies_on_the_way(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, point: str) -> None:
    """The next one has either the version serving or nobody, and in the end no worker that nobody needs."""

    def die(what: str) -> None:
        if what.startswith(point):
            raise unwritable()

    async def first(driver: Driver) -> None:
        await deployed(driver, stage, 1)
        fleet.point = die
        with pytest.raises(Internal):
            await unload(driver)

    async def second(driver: Driver) -> None:
        await driver.taken_over.wait()
        await driver.idle()
        table = fleet.in_force(WORD)
        assert table is not None
        assert (len(fleet.alive), driver.active is not None) == ((1, True) if table.loadings else (0, False))
        if point == "before store":
            assert table.loadings == [], "it was decided"
        await unload(driver)
        await until(lambda: fleet.alive == {})

    play(stage.driver(fleet, journal), first)
    fleet.new_term()
    play(stage.driver(fleet, journal), second)
    assert fleet.broken == []


def test_callers_that_do_not_wait(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """The unload is done all the same."""

    async def script(driver: Driver) -> None:
        await deployed(driver, stage, 1)
        call = asyncio.ensure_future(unload(driver))
        await asyncio.sleep(0)
        call.cancel()
        await until(lambda: fleet.alive == {})
        await driver.idle()
        assert call.cancelled(), "it was not waited for"
        assert driver.active is None
        assert driver.switch.table is not None
        assert driver.switch.table.loadings == []

    play(stage.driver(fleet, journal), script)
