"""The way back after a promotion, as people ask for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from changeover.errors import Conflict
from changeover.rollout.current import Current
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase, Rollout
from changeover.rollout.recording import Recorder
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import PATIENCE, WORD, ScriptedJournal, Stage, bring, load_for_ever, play, until
from tests.rollout.test_driver import serves


def test_undo_in_the_window(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """All traffic is on the old version when it returns, and the new one's worker ends."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1), stage.offer(2, window=60))
        record = await driver.undo()
        assert record.phase == "rolled_back"
        assert record.ended
        assert serves(driver, fleet) == ("1", ["1"])
        assert driver.standby is None
        with pytest.raises(Conflict) as caught:
            await driver.undo()
        assert caught.value.reason == "no_standby"

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_the_store_of_an_undo_comes_first(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Nothing is prepared, published or drained before the page holds the old table."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1), stage.offer(2, window=60))
        fleet.calls.clear()
        await driver.undo()
        assert fleet.calls[0].startswith("store")

    play(stage.driver(fleet, journal), script)


@pytest.mark.parametrize("versions", [0, 1])
def test_undo_without_a_standby(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, versions: int) -> None:
    """A conflict with a stable word, and nothing moves."""

    async def script(driver: Driver) -> None:
        if versions:
            await bring(driver, stage.offer(1))
        before = fleet.epoch(WORD)
        with pytest.raises(Conflict) as caught:
            await driver.undo()
        assert caught.value.reason == "no_standby"
        assert fleet.epoch(WORD) == before

    play(stage.driver(fleet, journal), script)


def test_undo_while_a_candidate_loads(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """It does not wait for the candidate to be promoted and then take that back: there is nothing to undo now."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        await load_for_ever(driver, fleet, stage.offer(2))
        with pytest.raises(Conflict) as caught:
            await driver.undo()
        assert caught.value.reason == "no_standby"

    play(stage.driver(fleet, journal), script)


def test_a_slow_disk_does_not_hold_up_an_undo(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that hangs is waited for 50 ms: the traffic moves before it is written, and it comes all the same."""
    hangs, write = threading.Event(), Recorder._write

    def slowly(recorder: Recorder, current: Current, rollout: Rollout) -> None:
        if rollout.phase is Phase.ROLLING_BACK:
            assert hangs.wait(PATIENCE)
        write(recorder, current, rollout)

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1), stage.offer(2, window=60))
        old = fleet.epoch(WORD)
        undoing = asyncio.create_task(driver.undo())
        await until(lambda: fleet.epoch(WORD) > old)
        assert not hangs.is_set()
        hangs.set()
        assert (await undoing).phase == "rolled_back"

    monkeypatch.setattr(Recorder, "_write", slowly)
    play(stage.driver(fleet, journal), script)
    assert not fleet.broken
