"""A driver whose journal cannot be written, for a while or at one write of a life."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from changeover.errors import Conflict, Internal
from changeover.rollout.driver import Driver
from tests.loop_time import within
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, PATIENCE, WORD, ScriptedJournal, Stage, play, until, unwritable
from tests.rollout.test_driver import phases, serves


def test_an_undo_is_done_although_nothing_can_be_recorded(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """A full disk: the traffic is back when it returns; the candidate is let go when the disk has room again."""

    async def script(driver: Driver) -> None:
        await driver.offer(stage.offer(1))
        await driver.offer(stage.offer(2, window=60))
        await driver.idle()
        journal.fail()
        await within(1.0, driver.undo())
        assert serves(driver, fleet) == ("1", ["1", "2"])
        assert driver.switch.owes
        journal.heal()
        await until(lambda: sorted(s.version for s in fleet.alive.values()) == ["1"])
        committed = journal.epochs.committed(MODEL)
        assert committed is not None
        assert committed.epoch == fleet.epoch(WORD)
        await until(lambda: phases(journal)["2"] == "rolled_back")

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


@pytest.mark.parametrize("phase", ["validating", "promoting"])
def test_what_cannot_be_recorded_is_not_done(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """Before the switch every phase is on record before it acts: else the rollout is given up, and leaves nothing."""
    really = journal.rollouts.move

    def move(rollout: str, to: str, **more: Any) -> None:
        if to == phase:
            raise unwritable()
        really(rollout, to, **more)

    async def script(driver: Driver) -> None:
        await driver.offer(stage.offer(1))
        await driver.idle()
        monkeypatch.setattr(journal.rollouts, "move", move)
        fleet.calls.clear()
        rollout = await driver.offer(stage.offer(2))
        await driver.idle()
        record = journal.rollouts.get(rollout)
        assert (record.phase, record.record["reason"]) == ("failed", "journal_unwritable")
        assert serves(driver, fleet) == ("1", ["1"])
        assert not [call for call in fleet.calls if call.split()[0] in ("publish", "prepare", "store")]
        assert ("spawn 2" in fleet.calls) is (phase == "promoting")

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def life_of(stage: Stage, journal: ScriptedJournal, driver: Driver) -> asyncio.Task[None]:
    """Version 2 with a short window, then 3 and its undo: as far as the journal lets it go."""

    async def tries() -> None:
        for offer in (stage.offer(2, window=0.01), stage.offer(3, window=60)):
            with contextlib.suppress(Internal):
                await driver.offer(offer)
            await driver.idle()
        with contextlib.suppress(Conflict, Internal):  # nothing was promoted, or it cannot even be asked
            await driver.undo()
        await driver.idle()

    return asyncio.create_task(tries())


def writes_of_a_life(stage: Stage) -> int:
    """How often a life with a healthy journal writes."""
    counted = 0

    async def script(driver: Driver) -> None:
        nonlocal counted
        await driver.offer(stage.offer(1))
        await driver.idle()
        start = driver.journal.writes  # type: ignore[attr-defined]
        await life_of(stage, driver.journal, driver)  # type: ignore[arg-type]
        counted = driver.journal.writes - start  # type: ignore[attr-defined]

    with stage.journal("counted.sqlite") as journal:
        play(stage.driver(MemoryFleet(), journal), script)
    return counted


def test_no_failing_write_costs_the_serving_version(stage: Stage) -> None:
    """Whichever write of a life fails: something proven serves throughout, the driver lives, no worker is left over."""
    total = writes_of_a_life(stage)
    assert total >= 24

    for failing in range(1, total + 1):
        fleet = MemoryFleet()

        async def script(driver: Driver, fleet: MemoryFleet = fleet, failing: int = failing) -> None:
            journal = driver.journal
            assert isinstance(journal, ScriptedJournal)
            await driver.offer(stage.offer(1))
            await driver.idle()
            journal.fail(at=journal.writes + failing)
            await asyncio.wait_for(life_of(stage, journal, driver), PATIENCE)
            journal.heal()
            await until(lambda: not driver.switch.owes)
            await driver.offer(stage.offer(9))
            await driver.idle()
            await until(lambda: sorted(s.version for s in fleet.alive.values()) == ["9"])
            assert serves(driver, fleet) == ("9", ["9"])
            await until(lambda: not journal.rollouts.unfinished())
            committed = journal.epochs.committed(MODEL)
            assert committed is not None
            assert committed.epoch == fleet.epoch(WORD)

        with stage.journal(f"journal-{failing}.sqlite") as journal:
            try:
                play(stage.driver(fleet, journal), script)
            except BaseException as error:
                error.add_note(f"write {failing} of {total} failed; {fleet.calls[-12:]}")
                raise
        assert not fleet.broken, (failing, fleet.broken)
