"""What is on record of a rollout, when, and what becomes of it when that cannot be written."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import msgspec

from changeover.rollout.course import Course, Place
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase, Rollout
from changeover.rollout.recording import plan_on_record, restored
from tests.loop_time import within
from tests.rollout.canary import judged, shares, stands, tick
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, ScriptedJournal, Stage, play, until


def test_every_transition_is_on_record_before_it_acts(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """At each publication of a step's table the journal names the step; the history only grows."""
    seen: list[tuple[str, object]] = []
    histories: list[list[object]] = []

    def point(what: str) -> None:
        record = journal.rollouts.of(MODEL, limit=1)[0]
        if what.startswith("before publish"):
            seen.append((record.phase, record.record.get("place")))
        history = record.record.get("history")
        if isinstance(history, list):
            histories.append(history)

    async def script(driver: Driver) -> None:
        judge = judged(driver)
        await driver.offer(stage.offer(1))
        await driver.idle()
        fleet.point = point
        await driver.offer(stage.canary(2, "steps: [shadow, 5%]"))
        await driver.idle()
        await tick(driver, judge, "clear")
        await tick(driver, judge, "clear")

    play(stage.driver(fleet, journal), script)
    forward = seen[::2]
    assert forward == [
        ("shadowing", {"step": 0, "weight": 0}),
        ("progressing", {"step": 1, "weight": 500}),
        ("promoting", {"step": -1, "weight": 10_000}),
    ]
    for before, after in pairwise(histories):
        assert after[: len(before)] == before


def test_what_is_kept_leads_back(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Phase, place, hand and plan: enough to go on at the same step."""

    async def script(driver: Driver) -> None:
        judge = judged(driver)
        await driver.offer(stage.offer(1))
        offer = stage.canary(2)
        rollout = await driver.offer(offer)
        await driver.idle()
        await tick(driver, judge, "clear")
        await driver.set_weight(700)
        record = journal.rollouts.get(rollout)
        state = restored(Rollout(MODEL, "1", "2", course=Course.of(offer.plan.rollout)), record)
        assert (state.phase, state.goal, state.held, state.by) == (Phase.PAUSED, Place(1, 700), True, "operator")
        assert plan_on_record(record) == offer.plan
        assert record.record["memory"] == {"windows": 1}
        assert [
            entry["phase"] for entry in msgspec.convert(record.record["history"], list[dict[str, str | int | None]])
        ] == [
            "validating",
            "shadowing",
            "progressing",
            "paused",
        ]

    play(stage.driver(fleet, journal), script)


def test_a_record_of_an_older_release_has_no_plan(stage: Stage, journal: ScriptedJournal) -> None:
    """Then the version's own counts."""
    offer = stage.offer(1)
    record = journal.rollouts.open(MODEL, None, offer.ref, {"offer": "push"})
    assert plan_on_record(record) is None
    state = restored(Rollout(MODEL, None, "1"), record)
    assert (state.phase, state.goal, state.held, state.by) == (Phase.PENDING, None, False, "plan")


def test_a_step_that_cannot_be_recorded_is_not_taken(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """The step before it stays in force, the judge goes on, and it is tried again when the disk is free."""

    async def script(driver: Driver) -> None:
        judge = judged(driver)
        now = [0.0]
        driver.vigil.clock = lambda: now[0]
        await driver.offer(stage.offer(1))
        await driver.offer(stage.canary(2, "steps: [5%, 50%]"))
        await driver.idle()
        journal.fail()
        await tick(driver, judge, "clear")
        assert stands(driver) == (Phase.PROGRESSING, "5%")
        assert shares(fleet) == {"2": 500, "1": 9500}
        journal.heal()
        await asyncio.sleep(0.05)
        now[0] += 11
        await tick(driver, judge, "clear")
        assert stands(driver) == (Phase.PROGRESSING, "50%")
        assert shares(fleet) == {"2": 5000, "1": 5000}

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_rollback_on_a_full_disk_takes_less_than_a_second(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """Everything is back at once; what is owed is paid when there is room, and then the candidate is let go."""

    async def script(driver: Driver) -> None:
        judge = judged(driver)
        await driver.offer(stage.offer(1))
        rollout = await driver.offer(stage.canary(2, "steps: [50%]"))
        await driver.idle()
        journal.fail()
        await within(1.0, tick(driver, judge, "failed", "error_rate"))
        assert shares(fleet) == {"1": 10_000}
        assert driver.switch.owes
        assert journal.rollouts.get(rollout).phase == "progressing"
        journal.heal()
        await until(lambda: journal.rollouts.get(rollout).phase == "rolled_back")
        await until(lambda: not driver.switch.owes and len(fleet.alive) == 1)
        committed = journal.epochs.committed(MODEL)
        assert committed is not None
        assert committed.epoch == fleet.epoch(1)
        record = journal.rollouts.get(rollout).record
        assert (record["reason"], record["by"]) == ("error_rate", "judge")

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken
