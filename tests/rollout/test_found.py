"""Versions found in the repository while the journal cannot be written: none of them is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from changeover.errors import Conflict
from changeover.rollout.driver import Driver
from changeover.rollout.found import is_news
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import MODEL, ScriptedJournal, Stage, act, play, until, unwritable
from tests.rollout.test_driver import phases, serves


def refusing(journal: ScriptedJournal, phase: str) -> Callable[..., None]:
    """`rollouts.move`, which the disk does not take to one phase."""
    really = journal.rollouts.move

    def move(rollout: str, to: str, **more: Any) -> None:
        if to == phase:
            raise unwritable()
        really(rollout, to, **more)

    return move


def test_a_version_whose_rollout_cannot_be_opened(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """It waits, with its artifact held, until the disk has room; then it serves and nothing waits."""

    async def script(driver: Driver) -> None:
        journal.fail()
        offer = stage.offer(1)
        await driver.offer_found(offer)
        await driver.idle()
        assert driver.waiting == [offer]
        assert phases(journal) == {}
        journal.heal()
        await until(lambda: phases(journal) == {"1": "succeeded"})
        await until(lambda: driver.waiting == [])

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


@pytest.mark.parametrize("phase", ["validating", "promoting"])
def test_a_rollout_given_up_by_the_disk_is_no_try(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """The version is tried again in this life, until the disk takes it."""

    async def script(driver: Driver) -> None:
        await driver.offer_found(stage.offer(1))
        await driver.idle()
        with monkeypatch.context() as sick:
            sick.setattr(journal.rollouts, "move", refusing(journal, phase))
            await driver.offer_found(stage.offer(2))
            await until(lambda: phases(journal).get("2") == "failed")
            await until(lambda: serves(driver, fleet) == ("1", ["1"]))
        await until(lambda: phases(journal)["2"] == "succeeded")
        await until(lambda: driver.waiting == [])
        tries = [record.phase for record in journal.rollouts.of(MODEL) if record.target.version == 2]
        assert tries[0] == "succeeded"
        assert set(tries[1:]) == {"failed"}

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_rollout_given_up_by_the_disk_in_an_earlier_life(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record says why it failed, so the next controller tries the version that it finds."""

    async def first(driver: Driver) -> None:
        await driver.offer(stage.offer(1))
        await driver.idle()
        with monkeypatch.context() as sick:
            sick.setattr(journal.rollouts, "move", refusing(journal, "promoting"))
            await driver.offer(stage.offer(2))
            await driver.idle()
        assert phases(journal)["2"] == "failed"

    async def second(driver: Driver) -> None:
        await driver.offer_found(stage.offer(2))
        await driver.idle()
        await until(lambda: serves(driver, fleet) == ("2", ["2"]))

    play(stage.driver(fleet, journal), first)
    fleet.new_term()
    play(stage.driver(fleet, journal), second)


def test_a_refused_version_is_not_tried_again(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """A gate's verdict counts, also for one that had to wait for the disk."""

    async def script(driver: Driver) -> None:
        fleet.fates["2"] = Fate.FAILS
        await driver.offer_found(stage.offer(1))
        await driver.idle()
        journal.fail()
        await driver.offer_found(stage.offer(2))
        await driver.idle()
        assert await is_news(driver, stage.offer(2).ref)
        journal.heal()
        await until(lambda: driver.waiting == [])
        assert phases(journal) == {"1": "succeeded", "2": "failed"}
        assert not await is_news(driver, stage.offer(2).ref)
        assert len(journal.rollouts.of(MODEL)) == 2

    play(stage.driver(fleet, journal), script)


def test_older_bytes_do_not_come_after_newer_ones(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a version waits for the disk its folder gets other bytes: these serve, and the first ones never do."""
    monkeypatch.setattr("changeover.rollout.queue._FOUND_AGAIN", 1.0)
    older, newer = stage.offer(1), stage.offer(1, flavour="retrained")  # sealed before: a slow disk takes its time

    async def script(driver: Driver) -> None:
        journal.fail()
        await driver.offer_found(older)
        await driver.idle()
        journal.heal()
        await driver.offer_found(newer)
        await driver.idle()
        assert driver.waiting == []
        await asyncio.sleep(1.1)  # past the moment at which the first bytes would have been looked at again
        await driver.idle()
        assert [record.target for record in journal.rollouts.of(MODEL)] == [newer.ref]

    play(stage.driver(fleet, journal), script)


def test_what_is_not_the_disks_fault_is_dropped(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fail for ever: it is said once, and nothing holds its artifact."""

    def refused(*_: object) -> None:
        raise Conflict("no")

    async def script(driver: Driver) -> None:
        monkeypatch.setattr(journal.rollouts, "latest_for", refused)
        await driver.offer_found(stage.offer(1))
        await driver.idle()
        assert driver.waiting == []

    play(stage.driver(fleet, journal), script)


def test_a_version_found_before_its_driver_runs(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """A model is offered as soon as it has a driver: its recovery comes first all the same, and finds nothing.

    A recovery after the rollout took what served for a version of the last term: another loading than the candidate's.
    """

    async def script(driver: Driver) -> None:
        await driver.idle()
        assert driver.current is not None
        assert driver.active is driver.current.candidate
        assert driver.candidate is None

    async def found_at_once() -> BaseException | None:
        driver = stage.driver(fleet, journal)
        await driver.offer_found(stage.offer(1))
        return await act(driver, script)

    assert asyncio.run(found_at_once()) is None
    assert phases(journal) == {"1": "succeeded"}
