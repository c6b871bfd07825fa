"""Versions that end: those with sequences beside everything else, and the next one waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from changeover.records.certificate import Certificate
from changeover.rollout.current import Current
from changeover.rollout.driver import Driver
from changeover.rollout.machine import NOTHING, Command, Event
from changeover.sequences.declared import Layout
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.room import Room
from tests.rollout.stage import MODEL, ScriptedJournal, Stage, bring, play, until

LAYOUT = Layout([], [], 600.0, 4, "drain", 0, 8, 500)


@pytest.fixture
def room(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> Room:
    return Room(stage, fleet, journal)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


async def promoted(room: Room, *, sequences: bool) -> Current:
    """Two versions, the first of which is let go now."""
    first = (await room.promoted(1)).candidate
    assert first is not None
    assert first.entry is not None
    if sequences:
        first.entry = replace(first.entry, sequence=LAYOUT)
    current = await room.promoted(2)
    room.fleet.leased.add(1)
    room.commands.releases._deadline = 0.01
    await room.commands.execute(Command.RELEASE_SOURCE, current)
    return current


@pytest.mark.parametrize("sequences", [True, False])
def test_what_may_have_sequences_ends_beside_everything_else(room: Room, sequences: bool) -> None:
    """The driver has other things to do than to wait for clients; of any other version it waits for the end."""

    async def scenario() -> None:
        current = await promoted(room, sequences=sequences)
        assert (1 in room.fleet.alive, current.ending is not None) == (sequences, sequences)
        assert room.commands.standby is None

    run(scenario)


def test_the_next_version_waits_until_all_have_ended(room: Room) -> None:
    """It is not even proven before: three workers are all that a model may have."""

    async def scenario() -> None:
        current = await promoted(room, sequences=True)
        following = room.current(3)
        load = asyncio.create_task(room.commands.execute(Command.LOAD, following))
        await until(lambda: "drained 1" in room.fleet.calls)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not any(call.startswith("prove 3") for call in room.fleet.calls)
        assert current.ending is not None
        current.ending.cancel()
        await load
        assert "prove 3" in room.fleet.calls

    run(scenario)


def test_a_driver_that_waits_for_a_drain_is_idle(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """A controller that starts looks at the repository when all are: sequences may take hours."""

    async def script(driver: Driver) -> None:
        driver.commands.releases._deadline = 3600.0
        await bring(driver, stage.offer(1))
        serving = driver.active
        assert serving is not None
        assert serving.entry is not None
        serving.entry = replace(serving.entry, sequence=LAYOUT)
        fleet.leased.add(1)
        await bring(driver, stage.offer(2))
        await driver.offer(stage.offer(3))
        await asyncio.wait_for(driver.idle(), 10)
        assert (1 in fleet.alive, "prove 3" in fleet.calls) == (True, False)

    play(stage.driver(fleet, journal), script)


def test_a_version_that_waits_can_be_given_up(room: Room) -> None:
    """Nobody has to wait for what drains before it."""

    async def scenario() -> None:
        await promoted(room, sequences=True)
        following = room.current(3)
        load = asyncio.create_task(room.commands.execute(Command.LOAD, following))
        await asyncio.sleep(0)
        following.stop(Event.ABORT_ASKED, NOTHING)
        happened = await load
        assert happened is not None
        assert happened.event is Event.ABORT_ASKED
        assert following.candidate is not None
        assert room.journal.loadings.get(following.candidate.number).state == "failed"
        assert not any(call.startswith("prove 3") for call in room.fleet.calls)

    run(scenario)


def test_the_certificate_has_the_end_of_what_drained(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that took."""
    monkeypatch.setattr("changeover.rollout.receipt._AFTER_NS", 0)
    monkeypatch.setattr("changeover.rollout.receipt._REPORT_SLACK", 0.0)

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        serving = driver.active
        assert serving is not None
        assert serving.entry is not None
        serving.entry = replace(serving.entry, sequence=replace(LAYOUT, idle=0.3))
        fleet.leased.add(1)
        await bring(driver, stage.offer(2))

        def certificate() -> Certificate | None:
            return driver.journal.rollouts.of(MODEL)[0].certificate

        await until(lambda: (found := certificate()) is not None and found.outcome == "succeeded")
        found = certificate()
        assert found is not None
        assert (found.steps[-1].name, found.memory.released_bytes) == ("release", 1001)
        assert 1 not in fleet.alive

    play(stage.driver(fleet, journal), script)
