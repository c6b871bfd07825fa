"""A rollout goes on, or back by rule, wherever its controller or machine was killed."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.resumption import owed_certificate
from tests.rollout import canary_life
from tests.rollout.canary import judged, shares, stands, tick
from tests.rollout.canary_life import FATES, killed_at, offers_of, recovered
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, ScriptedJournal, Stage, play

FEWEST_NAMED_POINTS = 40


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A few hundred sentences about killed controllers help nobody."""
    caplog.set_level(logging.CRITICAL, "changeover")


@pytest.mark.parametrize("cold", [False, True], ids=["controller killed", "machine restarted"])
def test_killed_before_and_after_each_transition(stage: Stage, cold: bool) -> None:
    """What was decided holds, every rollout ends as it would have, histories only grow, and one version is left."""
    offers = offers_of(stage)
    whole, killer = killed_at(0, stage, offers, MemoryFleet(fates=FATES), "whole.sqlite")
    assert list(reversed(whole.phases.values())) == list(canary_life.ENDS.values())
    names = list(dict.fromkeys(killer.points))
    print(f"{len(names)} named crash points: {', '.join(names)}")  # noqa: T201 - the count is asked for
    assert len(names) >= FEWEST_NAMED_POINTS
    for name in names:
        path, fleet = f"{name}.sqlite".replace("%", "p"), MemoryFleet(fates=FATES)
        known, _ = killed_at(name, stage, offers, fleet, path)
        assert not fleet.broken, (name, fleet.broken)
        fleet = MemoryFleet(fates=FATES) if cold else fleet
        try:
            recovered(stage, fleet, path, known)
        except BaseException as error:
            error.add_note(f"killed {name!r}; then {fleet.calls[-15:]}; {known.phases}")
            raise


def lived(stage: Stage, fleet: MemoryFleet, script: object) -> None:
    """A term that ends where its script does."""
    fleet.new_term()
    with stage.journal("one.sqlite") as journal:
        play(stage.driver(fleet, journal), script)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["none", "before the end"])
def test_a_certificate_that_the_last_term_owes(stage: Stage, fleet: MemoryFleet, written: str) -> None:
    """It was killed between the end and the certificate: the next one writes what is on record."""
    offer = stage.offer(1)

    async def first(driver: Driver) -> None:
        await driver.offer(offer)
        await driver.idle()

    lived(stage, fleet, first)
    with stage.journal("one.sqlite") as journal:
        (record,) = journal.rollouts.of(MODEL)
        journal._database.write("UPDATE rollouts SET certificate = NULL")
        owed = owed_certificate(journal.rollouts.get(record.id))
        assert owed is not None
        if written != "none":
            journal.rollouts.certify(record.id, replace(owed, outcome="watching", decided_by="operator"))

    async def second(driver: Driver) -> None:
        await driver.taken_over.wait()
        await driver.idle()
        (record,) = driver.journal.rollouts.of(MODEL)
        assert record.certificate == owed
        assert (owed.outcome, owed.decided_by, owed.target) == ("succeeded", "plan", offer.ref)
        assert [gate.gate for gate in owed.gates] == ["integrity", "warmup"]
        assert owed_certificate(record) is None

    lived(stage, fleet, second)


def test_what_never_loaded_has_no_certificate(stage: Stage) -> None:
    """Nothing of it was seen."""
    offer = stage.offer(1)
    with stage.journal("one.sqlite") as journal:
        record = journal.rollouts.open(MODEL, None, offer.ref, {"offer": "push"})
        assert owed_certificate(record) is None
        journal.rollouts.move(record.id, Phase.ROLLED_BACK, ended=True)
        assert owed_certificate(journal.rollouts.get(record.id)) is None


def test_a_new_term_holds_the_same_step(stage: Stage, fleet: MemoryFleet) -> None:
    """The worker goes on, the table is drawn anew with its way back, and the judge remembers."""
    offers = {1: stage.offer(1), 2: stage.canary(2)}

    async def first(driver: Driver) -> None:
        judge = judged(driver)
        await driver.offer(offers[1])
        await driver.offer(offers[2])
        await driver.idle()
        await tick(driver, judge, "clear")

    async def second(driver: Driver) -> None:
        judge = judged(driver)
        await driver.taken_over.wait()
        await driver.idle()
        assert stands(driver) == (Phase.PROGRESSING, "5%")
        assert shares(fleet) == {"2": 500, "1": 9500}
        await tick(driver, judge)
        assert judge.remembered == {"windows": 1}
        fleet.calls.clear()
        await driver.abort()
        assert fleet.calls[0].startswith("store")
        record = driver.journal.rollouts.of("mnist")[0]
        assert [entry["phase"] for entry in record.record["history"]] == [  # type: ignore[attr-defined]
            "validating",
            "shadowing",
            "progressing",
            "progressing",
            "rolling_back",
            "rolled_back",
        ]
        assert record.record["history"][3]["event"] == "found_split"  # type: ignore[index]
        assert [window.stratum[0] for window in judge.seen] == [
            4,
            6,
        ]  # the last term first

    lived(stage, fleet, first)
    spawned = [call for call in fleet.calls if call.startswith("spawn")]
    lived(stage, fleet, second)
    assert [call for call in fleet.calls if call.startswith("spawn")] in ([], spawned)
    assert not fleet.broken


def test_a_pause_outlives_the_machine(stage: Stage, fleet: MemoryFleet) -> None:
    """The candidate is loaded and proven again, takes its weight again, and waits for people again."""
    offers = {1: stage.offer(1), 2: stage.canary(2)}

    async def first(driver: Driver) -> None:
        judged(driver)
        await driver.offer(offers[1])
        await driver.offer(offers[2])
        await driver.idle()
        await driver.set_weight(777)

    again = MemoryFleet()

    async def second(driver: Driver) -> None:
        judge = judged(driver)
        await driver.taken_over.wait()
        await driver.idle()
        assert stands(driver) == (Phase.PAUSED, "7.77%")
        assert shares(again) == {"2": 777, "1": 9223}
        await tick(driver, judge, "clear")
        assert stands(driver) == (Phase.PAUSED, "7.77%")

    lived(stage, fleet, first)
    lived(stage, again, second)
    assert not again.broken


def test_a_step_that_a_new_term_could_not_store_is_tried_again(stage: Stage, fleet: MemoryFleet) -> None:
    """The table in force goes on; each look tries it, and until then nothing is judged."""
    offers = {1: stage.offer(1), 2: stage.canary(2, "steps: [5%, 50%]")}

    async def first(driver: Driver) -> None:
        judged(driver)
        await driver.offer(offers[1])
        await driver.offer(offers[2])
        await driver.idle()

    async def second(driver: Driver) -> None:
        assert isinstance(driver.journal, ScriptedJournal)
        judge = judged(driver)
        driver.journal.fail()
        await driver.taken_over.wait()
        await driver.idle()
        await tick(driver, judge, "clear")
        assert stands(driver) == (Phase.PROGRESSING, "5%")
        assert not judge.seen
        driver.journal.heal()
        await tick(driver, judge)
        await tick(driver, judge, "waiting")
        assert [window.stratum[0] for window in judge.seen] == [2, 4]  # the last term first
        assert shares(fleet) == {"2": 500, "1": 9500}

    lived(stage, fleet, first)
    lived(stage, fleet, second)
    assert not fleet.broken
