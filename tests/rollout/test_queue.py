"""Versions that come while a rollout is under way: they wait, or take its place."""

from __future__ import annotations

import asyncio

import pytest

from changeover.errors import Conflict
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.offer import Offer
from tests.loop_time import within
from tests.rollout.canary import judged, stands, tick
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import ScriptedJournal, Stage, bring, load_for_ever, play
from tests.rollout.test_driver import phases, serves

SUPERSEDES = "steps: [5%], supersede: true"


def found(offer: Offer) -> Offer:
    """The same, lying in the repository."""
    return Offer(offer.version, offer.artifact, offer.plan, "repository")


def test_a_newer_version_waits_for_the_end(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """It is recorded at once, and begins when the one under way is promoted: that ends its undo window."""

    async def script(driver: Driver) -> None:
        judge = judged(driver)
        await driver.offer(stage.offer(1))
        await driver.offer(stage.canary(2, "steps: [5%]"))
        await driver.offer(stage.canary(3, "steps: [5%]"))
        await driver.idle()
        assert phases(journal) == {"1": "succeeded", "2": "progressing", "3": "pending"}
        await tick(driver, judge, "clear")
        assert phases(journal) == {"1": "succeeded", "2": "succeeded", "3": "progressing"}
        await tick(driver, judge, "failed", "error_rate")
        assert phases(journal)["3"] == "rolled_back"

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_what_is_found_waits_too(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Whether it is news is asked when its turn comes: a lower one is not, once a higher one serves."""

    async def script(driver: Driver) -> None:
        judge = judged(driver)
        await driver.offer(stage.offer(1))
        await driver.offer(stage.canary(3, "steps: [5%]"))
        for version in (2, 4):
            await driver.offer_found(found(stage.canary(version, "steps: [5%]")))
        await driver.idle()
        assert phases(journal) == {"1": "succeeded", "3": "progressing"}
        assert [offer.version for offer in driver.waiting] == [2, 4]
        await tick(driver, judge, "clear")
        assert phases(journal) == {"1": "succeeded", "3": "succeeded", "4": "progressing"}
        assert driver.waiting == []

    play(stage.driver(fleet, journal), script)


def test_a_plan_may_let_it_take_the_place(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """The one under way goes back, those that waited before it never begin, and it says so."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await driver.offer(stage.offer(1))
        second = await driver.offer(stage.canary(2, "steps: [5%]"))
        await driver.offer(stage.canary(3, "steps: [5%]"))
        await driver.idle()
        await driver.offer(stage.canary(4, SUPERSEDES))
        await driver.idle()
        assert phases(journal) == {"1": "succeeded", "2": "rolled_back", "3": "rolled_back", "4": "progressing"}
        record = journal.rollouts.get(second).record
        assert (record["reason"], record["detail"]) == ("superseded", "version 4 takes its place")
        assert "3" not in [spec.version for spec in fleet.alive.values()]

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_it_takes_the_place_of_one_that_loads(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Without waiting for the load."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await bring(driver, stage.offer(1))
        await load_for_ever(driver, fleet, stage.canary(2))
        await driver.offer(stage.canary(3, SUPERSEDES))
        await within(2.0, driver.idle(), stage.folder)
        assert phases(journal) == {"1": "succeeded", "2": "rolled_back", "3": "progressing"}

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_only_news_take_a_place(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """A version in the repository that was refused before, and is found again, does not."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await driver.offer(stage.offer(1))
        fleet.fates["3"] = Fate.FAILS
        await driver.offer_found(found(stage.canary(3, SUPERSEDES)))
        await driver.offer(stage.canary(2))
        await driver.idle()
        await driver.offer_found(found(stage.canary(3, SUPERSEDES)))
        await driver.idle()
        assert stands(driver) == (Phase.SHADOWING, "shadow")
        assert phases(journal) == {"1": "succeeded", "3": "failed", "2": "shadowing"}

    play(stage.driver(fleet, journal), script)


def test_a_push_that_is_sent_again_has_its_rollout(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """On its way, in the undo window, at its end: no second rollout, and undo still goes back to what served before."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        second = stage.offer(2, window=60.0)
        rollouts = set()
        for _ in range(3):
            offer, rollout = await driver.push(2, second.artifact, second.plan)
            rollouts.add((offer.version, rollout))
            await driver.idle()
        assert len(rollouts) == 1
        await driver.undo()
        assert serves(driver, fleet)[0] == "1"

    play(stage.driver(fleet, journal), script)


def test_a_push_of_what_was_taken_back_is_tried_anew(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """So is one with another plan, or other bytes under its number, or without a number."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        second, slower = stage.offer(2, window=60.0), stage.offer(2, window=61.0)
        rollouts = [(await driver.push(2, second.artifact, second.plan))[1]]
        await driver.idle()
        await driver.undo()
        pushes = (2, second.artifact, second.plan), (2, second.artifact, slower.plan), (2, slower.artifact, slower.plan)
        for version, artifact, plan in (*pushes, (None, slower.artifact, slower.plan)):
            rollouts.append((await driver.push(version, artifact, plan))[1])
            await driver.idle()
        assert len(set(rollouts)) == 5

    play(stage.driver(fleet, journal), script)


def test_a_push_that_waits_is_sent_again(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Also twice at the same time: it has one rollout, and the way back is not to itself."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        second, third = stage.canary(2, "steps: [5%]"), stage.offer(3, window=60.0)
        await driver.push(2, second.artifact, second.plan)
        await driver.idle()
        asked = [driver.push(3, third.artifact, third.plan) for _ in range(2)]
        pushes = [*await asyncio.gather(*asked), await driver.push(3, third.artifact, third.plan)]
        assert len({rollout for _, rollout in pushes}) == 1
        await driver.abort()
        await driver.idle()
        assert serves(driver, fleet)[0] == "3"
        await driver.undo()
        assert serves(driver, fleet)[0] == "1"

    play(stage.driver(fleet, journal), script)


def test_a_push_that_gives_way_is_asked_when_all_before_it_is_on_record(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """Another one is being recorded: what comes next is not asked before it waits, or begins."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        second, third = stage.canary(2, "steps: [5%]"), stage.canary(3, "steps: [5%]")
        heard: list[bool] = []

        def gives_way() -> bool:
            heard.append(driver.queue.waits or driver.queue.busy)
            return heard[-1]

        release = journal.block()
        operators = asyncio.create_task(driver.push(2, second.artifact, second.plan))
        await asyncio.sleep(0.05)
        tuners = asyncio.create_task(driver.push(3, third.artifact, third.plan, gives_way))
        await asyncio.sleep(0.05)
        assert heard == []
        release.set()
        await operators
        with pytest.raises(Conflict) as caught:
            await tuners
        assert (caught.value.reason, heard) == ("rollout_under_way", [True])
        await driver.idle()
        assert phases(journal) == {"1": "succeeded", "2": "progressing"}
        assert not driver.queue.waits

    play(stage.driver(fleet, journal), script)


def test_one_whose_turn_begins_still_waits(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has left the line and is not the one in hand yet."""

    async def script(driver: Driver) -> None:
        begin, seen = driver.begin, []

        async def noted(rollout: str, offer: Offer) -> None:
            seen.append((driver.current, driver.queue.waits))
            await begin(rollout, offer)

        monkeypatch.setattr(driver, "begin", noted)
        await bring(driver, stage.offer(1))
        assert (seen, driver.queue.waits) == ([(None, True)], False)

    play(stage.driver(fleet, journal), script)


def test_what_is_pushed_again_after_another_comes_after_it(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """The last push counts, whatever is under way."""

    async def script(driver: Driver) -> None:
        await bring(driver, stage.offer(1))
        second, third = stage.canary(2, "steps: [5%]"), stage.canary(3, SUPERSEDES)
        first = (await driver.push(2, second.artifact, second.plan))[1]
        await driver.idle()
        await driver.push(3, third.artifact, third.plan)
        assert (await driver.push(2, second.artifact, second.plan))[1] != first

    play(stage.driver(fleet, journal), script)
