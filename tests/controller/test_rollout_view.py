"""What is shown of a rollout: the journal's record, and what the driver knows since then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from changeover.controller import rollout_view
from changeover.controller.bodies import RolloutStatus
from changeover.rollout.driver import Driver
from changeover.rollout.plan import parse_plan
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import Stage, play, until

Script = Callable[[Driver, Callable[[], RolloutStatus]], Awaitable[None]]


def shown_while(tmp_path: Path, fleet: MemoryFleet, offered: list[tuple[int, float]], script: Script) -> None:
    """Offer versions with their windows, then look at the newest rollout."""
    stage = Stage(tmp_path, load_timeout=5.0)

    async def whole(driver: Driver) -> None:
        for version, window in offered:
            await driver.offer(stage.offer(version, window))
        if Fate.SILENT not in fleet.fates.values():
            await driver.idle()
        await script(driver, lambda: rollout_view.status(driver.journal.rollouts.of(driver.model, limit=1)[0], driver))

    with stage.journal() as journal:
        play(stage.driver(fleet, journal), whole)


@pytest.fixture
def fleet() -> MemoryFleet:
    return MemoryFleet()


def test_in_the_undo_window(tmp_path: Path, fleet: MemoryFleet) -> None:
    """Both versions with their bytes, the gates, the share, and until when it can be undone."""

    async def script(driver: Driver, shown: Callable[[], RolloutStatus]) -> None:
        told = shown()
        assert told.source is not None
        assert (told.source.version, told.target.version, told.phase) == ("1", "2", "watching")
        assert driver.active is not None
        assert told.target.digest == driver.active.digest
        assert told.weight is not None
        assert told.weight.set == 10_000
        assert told.undo_until is not None
        assert [(gate.gate, gate.result) for gate in told.gates] == [("integrity", "passed"), ("warmup", "passed")]
        assert rollout_view.present(driver) == told.id
        await driver.undo()
        assert (shown().phase, shown().undo_until, shown().step) == ("rolled_back", None, None)
        ruling = shown().ruling
        assert ruling is None or ruling.verdict == "undo_asked"
        assert rollout_view.present(driver) is None

    shown_while(tmp_path, fleet, [(1, 0.0), (2, 60.0)], script)


@pytest.mark.parametrize(
    ("plan", "steps"),
    [
        ("rollout: {strategy: canary, steps: [shadow, 5%, 100%]}", ["shadow", "5%", "100%"]),
        ("rollout: {strategy: canary, steps: [5%, 50%]}", ["5%", "50%", "100%"]),
        ("rollout: {strategy: instant}", ["100%"]),
        ("rollout: {strategy: manual}", ["by hand", "100%"]),
    ],
)
def test_the_steps_of_a_plan(plan: str, steps: list[str]) -> None:
    """The promotion is the last one, whether it is written or not."""
    assert rollout_view.steps_of(parse_plan(plan)) == steps


def test_a_first_version_comes_from_nothing(tmp_path: Path, fleet: MemoryFleet) -> None:
    """And has ended as soon as it serves."""

    async def script(_: Driver, shown: Callable[[], RolloutStatus]) -> None:
        told = shown()
        assert (told.source, told.phase) == (None, "succeeded")
        assert told.ended is not None

    shown_while(tmp_path, fleet, [(1, 0.0)], script)


def test_while_it_loads_it_has_no_share(tmp_path: Path, fleet: MemoryFleet) -> None:
    """Not 0 of the traffic: nothing that could have any."""
    fleet.fates["2"] = Fate.SILENT

    async def script(driver: Driver, shown: Callable[[], RolloutStatus]) -> None:
        await until(lambda: _loads(driver, "2"))
        told = shown()
        assert (told.phase, told.weight) == ("validating", None)
        old, new = told.arms.active, told.arms.candidate
        assert old is not None
        assert new is not None
        assert (old.version, old.requests, old.failures) == ("1", 61, 1)  # what the fleet in memory tells of loading 1
        assert (new.version, new.requests) == ("2", 0)

    shown_while(tmp_path, fleet, [(1, 0.0), (2, 0.0)], script)


def _loads(driver: Driver, version: str) -> bool:
    rollout = driver.current.rollout if driver.current else None
    return rollout is not None and (rollout.target, rollout.phase) == (version, "validating")


def test_the_memory_is_ahead_of_a_sick_journal(tmp_path: Path, fleet: MemoryFleet) -> None:
    """What was decided is shown though the disk does not take it yet."""
    stage = Stage(tmp_path)
    with stage.journal() as journal:

        async def script(driver: Driver) -> None:
            for version in (1, 2):
                await driver.offer(stage.offer(version, 60.0))
            await driver.idle()
            journal.fail()
            undone = await driver.undo()
            record = await asyncio.to_thread(journal.rollouts.get, undone.id)
            assert record.phase != "rolled_back"
            assert rollout_view.summary(record, driver).phase == "rolled_back"
            journal.heal()

        play(stage.driver(fleet, journal), script)
