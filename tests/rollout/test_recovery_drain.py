"""Versions that drain when their controller dies: the next one waits for them, for the rest of their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from changeover.rollout.driver import Driver
from changeover.sequences.declared import Layout
from tests.rollout.crash import check, lived, offers_of, settled
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import Stage, bring, until


def test_a_version_that_drains_goes_on_draining(stage: Stage, fleet: MemoryFleet) -> None:
    """Its last requests and live sequences are waited for anew; a candidate that no table named ends at once."""
    offers = offers_of(stage)
    waited: list[tuple[bool, str]] = []

    async def first(driver: Driver) -> None:
        driver.commands.releases._deadline = 3600.0
        fleet.leased.add(1)
        await driver.offer(offers[1])
        await driver.offer(offers[2])
        await until(lambda: "drained 1" in fleet.calls)
        fleet.spawn(77, fleet.alive[1])

    async def second(driver: Driver) -> None:
        driver.commands.releases._deadline = 3600.0
        await driver.taken_over.wait()
        await driver.idle()
        await until(lambda: fleet.calls.count("drained 1") == 2)
        waited.extend((number in fleet.alive, driver.journal.loadings.get(1).state) for number in (1, 77))
        assert driver.active is not None
        assert driver.active.version == 2
        assert [loading.version for loading in driver.loader.live.values() if driver.role(loading) == "none"] == [1]

    async def third(driver: Driver) -> None:
        fleet.leased.clear()
        await settled(driver)
        check(driver, fleet, "2")
        assert driver.journal.loadings.get(1).state == "released"

    for script in (first, second, third):
        lived(stage, fleet, script)
    assert waited == [(True, "ready"), (False, "ready")]
    assert not fleet.broken


def test_a_new_term_does_not_begin_a_drain_anew(stage: Stage, fleet: MemoryFleet) -> None:
    """Its time is counted from the record of its begin, however often the controller is killed meanwhile."""
    offers = offers_of(stage)

    async def first(driver: Driver) -> None:
        driver.commands.releases._deadline = 3600.0
        fleet.leased.add(1)
        await bring(driver, offers[1])
        serving = driver.active
        assert serving is not None
        assert serving.entry is not None
        serving.entry = replace(serving.entry, sequence=Layout([], [], 600.0, 4, "drain", 0, 8, 500))
        await driver.offer(offers[2])
        await until(lambda: "drained 1" in fleet.calls)
        assert fleet.patience[1] == 4200.0

    async def later(driver: Driver) -> None:
        driver.commands.releases._deadline = 3600.0
        fleet.patience.clear()
        await until(lambda: 1 in fleet.patience)

    lived(stage, fleet, first)
    with stage.journal("one.sqlite") as journal:
        assert journal.loadings.get(1).state == "draining"
        begun = (datetime.now(UTC) - timedelta(seconds=4000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        journal._database.write("UPDATE loadings SET updated = ? WHERE id = 1", (begun,))
    for _ in range(2):
        lived(stage, fleet, later)
        assert 0 < fleet.patience[1] <= 200.0
    assert not fleet.broken
