"""Kill the controller at every write and every call of a life, and see what the next one makes of it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from changeover.errors import Internal
from changeover.rollout import recovery
from changeover.rollout.driver import Driver
from changeover.transport.control import RoutingTable
from tests.rollout.crash import (
    Offers,
    check,
    expected,
    killed_at,
    killed_in_recovery,
    lived,
    offers_of,
    recovered,
    restarted,
    version_of,
)
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import MODEL, WORD, ScriptedJournal, Stage, bring, play, until

FEWEST_POINTS = 140
FEWEST_RECOVERIES = 85
"""As counted when this was written: less would mean that something is no longer tried."""

COLD = pytest.mark.parametrize("cold", [False, True], ids=["controller killed", "machine restarted"])


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A few thousand sentences about killed controllers help nobody."""
    caplog.set_level(logging.CRITICAL, "changeover")


@pytest.fixture
def whole(stage: Stage) -> tuple[Offers, list[str]]:
    """The offers of a life, and all points of it when nobody dies."""
    offers = offers_of(stage)
    fleet = MemoryFleet(fates={"3": Fate.FAILS})
    left, points, _ = killed_at(0, stage, offers, fleet, "whole.sqlite")
    assert not left.unfinished
    assert left.decided is not None
    assert version_of(left.decided) == "2"
    assert sum("write" in point for point in points) >= 2 * 36
    assert sum("store" in point for point in points) == 2 * 6  # 1, 2, without 1, 4, the undo, without 4
    assert len(points) >= FEWEST_POINTS
    return offers, points


@COLD
def test_killed_at_every_point(stage: Stage, whole: tuple[Offers, list[str]], cold: bool) -> None:
    """The decided version serves, what was unfinished ends by rule, epochs grow, and no worker is left over."""
    offers, all_points = whole
    served: dict[str | None, int] = {}
    for at in range(1, len(all_points) + 1):
        path = f"killed-{at}.sqlite"
        old = MemoryFleet(fates={"3": Fate.FAILS})
        left, points, highest = killed_at(at, stage, offers, old, path)
        assert not old.broken, (points[-1], old.broken)
        fleet = restarted(old, cold=cold)
        before, serving = fleet.epoch(WORD), expected(left, cold=cold)
        served[serving] = served.get(serving, 0) + 1
        try:
            recovered(stage, fleet, path, lambda driver: check(driver, fleet, serving))  # noqa: B023
            # Epochs prepared and given up by the last term are not stored by this one.
            assert fleet.epoch(WORD) in (before, left.decided.epoch if left.decided else 0) or (
                fleet.epoch(WORD) > highest
            )
        except BaseException as error:
            error.add_note(f"killed at {at} of {len(all_points)}, {points[-1]!r}; then {fleet.calls[-15:]}; {left}")
            raise
        (stage.folder / path).unlink()
    # Killed before anything was asked for, nothing serves; killed in the undo's release, version 2.
    assert {None, "2", "4"} <= set(served)
    assert sum(served.values()) >= FEWEST_POINTS


DEEDS = ["before store 2", "before loaded 4", "before store 6"]
"""A promotion committed and not stored, a candidate that loads, an undo committed and not stored."""


@COLD
def test_killed_again_while_recovering(stage: Stage, whole: tuple[Offers, list[str]], cold: bool) -> None:
    """A recovery that is itself cut short at any of its points leaves the next one no worse off."""
    offers, _ = whole
    recoveries = 0
    for first in DEEDS:
        for second in range(1, 1000):
            path = f"{first}-{second}.sqlite"
            old = MemoryFleet(fates={"3": Fate.FAILS})
            killed_at(first, stage, offers, old, path)
            fleet = restarted(old, cold=cold)
            left = killed_in_recovery(second, stage, fleet, path)
            if left is None:
                break
            fleet = restarted(fleet, cold=cold)
            serving = expected(left, cold=cold)
            try:
                recovered(stage, fleet, path, lambda driver: check(driver, fleet, serving))  # noqa: B023
            except BaseException as error:
                error.add_note(f"killed at {first}, then at {second}; then {fleet.calls[-15:]}; {left}")
                raise
            recoveries += 1
            (stage.folder / path).unlink()
    assert recoveries >= FEWEST_RECOVERIES


@COLD
def test_it_is_known_when_a_recovery_has_ended(
    stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch, cold: bool
) -> None:
    """Later than that this term may open rollouts: the version that serves is there by then, loaded if need be."""
    seen: list[tuple[bool, bool]] = []
    rest = recovery._drop_strangers

    async def looked_at(driver: Driver, table: RoutingTable | None) -> None:
        seen.append((driver.taken_over.is_set(), driver.recovered.is_set()))
        await rest(driver, table)

    monkeypatch.setattr(recovery, "_drop_strangers", looked_at)

    async def first(driver: Driver) -> None:
        await bring(driver, stage.offer(1))

    async def then(driver: Driver) -> None:
        await driver.recovered.wait()
        assert driver.active is not None

    with stage.journal() as journal:
        play(stage.driver(fleet, journal), first)
    with stage.journal() as journal:
        play(stage.driver(restarted(fleet, cold=cold), journal), then)
    assert seen == [(True, False)] * 2


def test_a_commit_beyond_the_page_rolls_forward(stage: Stage, fleet: MemoryFleet) -> None:
    """The decided table is prepared again and stored; the same worker serves, nothing is loaded anew."""
    left, _, _ = killed_at("before store 2", stage, offers_of(stage), fleet, "one.sqlite")
    assert left.committed is not None
    assert left.page is not None
    assert (left.committed.epoch, left.page.epoch) == (2, 1)
    fleet.calls.clear()
    recovered(stage, fleet, "one.sqlite", lambda driver: check(driver, fleet, "2"))
    assert fleet.calls[:2] == ["prepare [2]", "store 2"]
    assert not [call for call in fleet.calls if call.startswith("spawn")]


def test_a_commit_that_no_gateway_can_prepare(stage: Stage, fleet: MemoryFleet) -> None:
    """The table in force goes on, and the rollout is tried again from its start; meanwhile the model is managed."""
    killed_at("before store 2", stage, offers_of(stage), fleet, "one.sqlite")
    fleet.prepare_error = Internal("no channel", reason="prepare_failed")

    def then(driver: Driver) -> None:
        assert driver.active is not None
        assert driver.active.version == 1
        assert [spec.version for spec in fleet.alive.values()] == ["1"]
        assert driver.journal.rollouts.of(MODEL)[0].phase == "failed"

    recovered(stage, fleet, "one.sqlite", then)
    assert not fleet.broken


def test_a_page_beyond_the_commit_gets_its_record(stage: Stage, fleet: MemoryFleet) -> None:
    """An undo on a full disk, then a dead controller: the next one owes the record too, and pays it."""
    offers = offers_of(stage)

    async def first(driver: Driver) -> None:
        await driver.offer(offers[1])
        await driver.offer(offers[4])
        await driver.idle()
        assert isinstance(driver.journal, ScriptedJournal)
        driver.journal.fail()
        await driver.undo()
        assert driver.switch.owes

    async def second(driver: Driver) -> None:
        assert isinstance(driver.journal, ScriptedJournal)
        driver.journal.fail()
        await driver.taken_over.wait()
        await driver.idle()
        assert driver.active is not None
        assert driver.active.version == 1
        assert driver.switch.owes
        driver.journal.heal()
        await until(lambda: not driver.switch.owes and not driver.journal.rollouts.unfinished())
        await until(lambda: len(fleet.alive) == 1)
        committed = driver.journal.epochs.committed(MODEL)
        assert committed is not None
        assert committed.epoch == fleet.epoch(WORD)
        assert [r.phase for r in driver.journal.rollouts.of(MODEL)] == ["rolled_back", "succeeded"]

    for script in (first, second):
        fleet.new_term()
        with stage.journal() as journal:
            play(stage.driver(fleet, journal), script)
    assert not fleet.broken


@COLD
def test_a_window_and_an_offer_behind_it(stage: Stage, fleet: MemoryFleet, cold: bool) -> None:
    """The rollout that watches is ended before the one that waited begins, as it would have been."""
    offers = offers_of(stage)

    async def first(driver: Driver) -> None:
        await driver.offer(offers[1])
        await driver.offer(offers[4])
        await driver.idle()
        await asyncio.to_thread(driver.journal.rollouts.open, MODEL, None, offers[2].ref, {"offer": "push"})

    def then(driver: Driver) -> None:
        check(driver, fleet, "2")
        assert [(r.target.version, r.phase) for r in driver.journal.rollouts.of(MODEL)][1] == (4, "succeeded")

    lived(stage, fleet, first)
    fleet = restarted(fleet, cold=cold)
    recovered(stage, fleet, "one.sqlite", then)


@COLD
def test_the_active_bytes_offered_again(stage: Stage, fleet: MemoryFleet, cold: bool) -> None:
    """A rollout that had not begun is begun, although its target serves already."""
    offers = offers_of(stage)

    async def first(driver: Driver) -> None:
        await driver.offer(offers[2])
        await driver.idle()
        await asyncio.to_thread(driver.journal.rollouts.open, MODEL, offers[2].ref, offers[2].ref, {"offer": "push"})

    lived(stage, fleet, first)
    fleet = restarted(fleet, cold=cold)
    recovered(stage, fleet, "one.sqlite", lambda driver: check(driver, fleet, "2"))
