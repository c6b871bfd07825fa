"""What people ask of a rollout is done when it returns, recorded, and refused in words when it cannot be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from changeover.errors import Conflict, Internal
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from tests.loop_time import within
from tests.rollout.canary import judged, shares, stands, tick
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import ScriptedJournal, Stage, bring, load_for_ever, play, until


async def begun(driver: Driver, stage: Stage) -> None:
    """Version 1 serves, version 2 is in the shadow."""
    await driver.offer(stage.offer(1))
    await driver.offer(stage.canary(2))
    await driver.idle()
    assert stands(driver) == (Phase.SHADOWING, "shadow")


def test_a_pause_holds_and_a_resume_goes_on(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """A verdict that would go up is not heard meanwhile."""

    async def script(driver: Driver) -> None:
        judge = judged(driver)
        await begun(driver, stage)
        record = await driver.pause()
        assert (record.phase, record.record["by"], record.record["hand"]) == ("paused", "operator", True)
        await tick(driver, judge, "clear")
        assert stands(driver) == (Phase.PAUSED, "shadow")
        assert (await driver.resume()).phase == "shadowing"
        await tick(driver, judge, "clear")
        assert stands(driver) == (Phase.PROGRESSING, "5%")

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_weight_by_hand(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """It is in force when it returns; resumed, no share falls; all of it is the promotion."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await begun(driver, stage)
        assert (await driver.set_weight(1234)).phase == "paused"
        assert shares(fleet) == {"2": 1234, "1": 8766}
        await driver.set_weight(100)
        assert shares(fleet) == {"2": 100, "1": 9900}
        await driver.set_weight(700)
        assert (await driver.resume()).phase == "progressing"
        assert shares(fleet) == {"2": 5000, "1": 5000}
        assert (await driver.set_weight(10_000)).phase == "watching"
        assert shares(fleet) == {"2": 9900, "1": 100}

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_promotion_skips_the_steps(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """Only what is held back stays; an undo then takes everything back."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await begun(driver, stage)
        assert (await driver.promote()).phase == "watching"
        assert shares(fleet) == {"2": 9900, "1": 100}
        assert (await driver.undo()).phase == "rolled_back"
        assert shares(fleet) == {"1": 10_000}
        assert [spec.version for spec in fleet.alive.values()] == ["1"]

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_an_abort_at_a_step(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """The first thing that happens is the store; the candidate is gone when it returns."""

    async def script(driver: Driver) -> None:
        judge = judged(driver)
        await begun(driver, stage)
        await tick(driver, judge, "clear")
        fleet.calls.clear()
        record = await driver.abort()
        assert (record.phase, record.record["reason"], record.record["by"]) == ("rolled_back", "aborted", "operator")
        assert fleet.calls[0].startswith("store")
        assert shares(fleet) == {"1": 10_000}
        assert [spec.version for spec in fleet.alive.values()] == ["1"]
        await until(lambda: journal.rollouts.get(record.id).certificate is not None)
        certificate = journal.rollouts.get(record.id).certificate
        assert certificate is not None
        assert certificate.decided_by == "operator"
        assert [(s.name, s.verdict) for s in certificate.steps][1:3] == [
            ("step shadow", "clear"),
            ("step 5%", "abort_asked"),
        ]

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_an_abort_does_not_wait_for_the_load(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """The worker that loads is ended at once, and the next version has its turn."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await bring(driver, stage.offer(1))
        await load_for_ever(driver, fleet, stage.canary(2))
        record = await within(2.0, driver.abort(), stage.folder)
        assert (record.phase, record.record["reason"]) == ("rolled_back", "aborted")
        assert [spec.version for spec in fleet.alive.values()] == ["1"]
        assert journal.loadings.get(2).state == "failed"

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


VERBS = pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (Driver.pause, "no_rollout"),
        (Driver.resume, "no_rollout"),
        (Driver.promote, "no_rollout"),
        (Driver.abort, "no_rollout"),
        (lambda driver: driver.set_weight(5), "no_rollout"),
        (Driver.undo, "no_standby"),
    ],
)


@VERBS
@pytest.mark.parametrize("versions", [0, 1])
def test_without_a_rollout_there_is_nothing_to_steer(
    stage: Stage,
    fleet: MemoryFleet,
    journal: ScriptedJournal,
    ask: Callable[[Driver], Awaitable[object]],
    reason: str,
    versions: int,
) -> None:
    """A conflict with a stable word, and nothing moves."""

    async def script(driver: Driver) -> None:
        if versions:
            await driver.offer(stage.offer(1))
        await driver.idle()
        with pytest.raises(Conflict) as caught:
            await ask(driver)
        assert caught.value.reason == reason

    play(stage.driver(fleet, journal), script)


@VERBS
def test_after_an_abort_that_ended_the_load_there_is_nothing_to_steer(
    stage: Stage,
    fleet: MemoryFleet,
    journal: ScriptedJournal,
    ask: Callable[[Driver], Awaitable[object]],
    reason: str,
) -> None:
    """The same conflict: what the abort has stopped is nobody else's wish fulfilled, and no fault of the server's."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await bring(driver, stage.offer(1))
        await load_for_ever(driver, fleet, stage.canary(2))
        await driver.abort()
        with pytest.raises(Conflict) as caught:
            await ask(driver)
        assert caught.value.reason == reason

    play(stage.driver(fleet, journal), script)


def test_what_comes_too_late_is_told(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """A promoted version is undone, not aborted; and a loading one is not paused."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await begun(driver, stage)
        await driver.promote()
        with pytest.raises(Conflict, match="undo takes it back") as caught:
            await driver.abort()
        assert caught.value.reason == "wrong_phase"
        await load_for_ever(driver, fleet, stage.canary(3))
        with pytest.raises(Conflict) as caught:
            await within(1.0, driver.pause())
        assert caught.value.reason == "wrong_phase"
        await driver.abort()

    play(stage.driver(fleet, journal), script)


def test_what_cannot_be_recorded_is_not_promised(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> None:
    """A pause or a weight on a full disk is refused, and all is as it was; an abort is done."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await begun(driver, stage)
        history = list(driver.current.history) if driver.current else []
        journal.fail()
        with pytest.raises(Internal) as caught:
            await driver.pause()
        assert caught.value.reason == "journal_unwritable"
        assert stands(driver) == (Phase.SHADOWING, "shadow")
        assert driver.current is not None
        assert driver.current.history == history
        with pytest.raises(Internal):
            await driver.set_weight(500)
        assert stands(driver) == (Phase.SHADOWING, "shadow")
        assert shares(fleet) == {"1": 10_000}
        assert (await within(1.0, driver.abort())).phase == "rolled_back"
        assert shares(fleet) == {"1": 10_000}
        journal.heal()
        await until(lambda: not journal.rollouts.unfinished() and not driver.switch.owes)
        await until(lambda: len(fleet.alive) == 1)

    play(stage.driver(fleet, journal), script)
    assert not fleet.broken


def test_a_promotion_that_was_refused_has_ended_no_step(
    stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """It could not be recorded; the step goes on, and what ends it later stands in the certificate."""

    async def script(driver: Driver) -> None:
        judged(driver)
        await driver.offer(stage.offer(1))
        await driver.offer(stage.canary(2))
        await driver.idle()
        journal.fail()
        with pytest.raises(Internal):
            await driver.promote()
        journal.heal()
        await driver.abort()
        await driver.idle()
        assert driver.current is not None
        record = driver.current.receipt.record()
        (step,) = [step for step in record["steps"] if step["name"].startswith("step ")]  # type: ignore[attr-defined]
        assert step["verdict"] == "abort_asked"

    play(stage.driver(fleet, journal), script)
