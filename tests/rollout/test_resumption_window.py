"""The undo window over the deaths of controllers: how long it still is, who watches it, and whose bytes serve."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from changeover.errors import Internal
from changeover.rollout import driver as module
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.offer import Offer
from changeover.rollout.plan import parse_plan
from tests.rollout.canary import judged, stands, tick
from tests.rollout.crash import lived
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, WORD, Stage, bring, until


async def settled(driver: Driver) -> None:
    """The recovery is over."""
    await driver.taken_over.wait()
    await driver.idle()


def test_the_window_ends_when_it_was_to_end(stage: Stage, fleet: MemoryFleet) -> None:
    """However often the controller dies meanwhile: what is left is told from its end, not from the last record."""
    lived(stage, fleet, lambda driver: bring(driver, stage.offer(1), stage.offer(2, window=600)))
    with stage.journal("one.sqlite") as journal:
        (record, *_) = journal.rollouts.of(MODEL)
        until_then = datetime.fromisoformat(record.record["undo_until"])
        assert timedelta(seconds=590) < until_then - datetime.now(UTC) < timedelta(seconds=602)
        soon = (datetime.now(UTC) + timedelta(seconds=60)).isoformat(timespec="seconds")
        journal.rollouts.move(record.id, Phase.WATCHING, record={**record.record, "undo_until": soon})

    async def later(driver: Driver) -> None:
        await settled(driver)
        assert driver.current is not None
        assert 50 < driver.current.window < 61

    for _ in range(2):
        lived(stage, fleet, later)


def test_the_window_is_watched_as_soon_as_it_can_be(
    stage: Stage, fleet: MemoryFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway cannot open a channel while the controller takes over; later it can, and the judge is heard again."""
    monkeypatch.setattr(module, "_AGAIN", 0.05)
    lived(stage, fleet, lambda driver: bring(driver, stage.offer(1), stage.offer(2, window=600)))

    async def later(driver: Driver) -> None:
        judge = judged(driver)
        await settled(driver)
        await tick(driver, judge)
        assert (stands(driver)[0], judge.seen) == (Phase.WATCHING, [])
        fleet.prepare_error = None
        await until(lambda: driver.current is not None and driver.vigil.stands(driver.current))
        await tick(driver, judge)
        assert judge.seen

    fleet.prepare_error = Internal("no channel yet", reason="prepare_failed")
    lived(stage, fleet, later)


@pytest.mark.parametrize("undone", [False, True])
def test_the_same_bytes_under_other_options(stage: Stage, fleet: MemoryFleet, undone: bool) -> None:
    """Which of the two serves is told by the loading; an undo is not turned round by a death before its record."""
    first = stage.offer(1)
    other = parse_plan("{rollout: {strategy: instant, undo_window: 600}, runtime: {max_batch: 2}}")
    numbers: list[int] = []

    async def script(driver: Driver) -> None:
        await bring(driver, first, Offer(1, first.artifact, other, "load"))
        assert driver.active is not None
        assert driver.standby is not None
        numbers.extend((driver.active.number, driver.standby.number))
        if undone:
            journal = driver.journal
            journal.fail()  # type: ignore[attr-defined]
            await driver.undo()
            assert driver.active.number == numbers[1]

    async def later(driver: Driver) -> None:
        await settled(driver)
        assert driver.active is not None
        assert driver.active.number == numbers[undone]
        (record, *_) = await asyncio.to_thread(driver.journal.rollouts.of, MODEL)
        assert record.phase == ("rolled_back" if undone else "watching")
        table = fleet.in_force(WORD)
        assert table is not None
        assert table.active == numbers[undone]

    lived(stage, fleet, script)
    lived(stage, fleet, later)
