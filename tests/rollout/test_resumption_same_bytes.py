"""The bytes that serve are offered again under other options, and the controller is killed at any point of that."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest

from changeover.errors import ChangeoverError
from changeover.rollout import receipt
from changeover.rollout.driver import Driver
from changeover.rollout.offer import Offer
from changeover.rollout.plan import parse_plan
from tests.rollout.crash import Killed, Killer, Left, left_by, restarted
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, WORD, Stage, act, bring, play

INSTANT = "strategy: instant, undo_window: 600"
CANARY = "strategy: canary, steps: [5%, 50%], undo_window: 600"
BATCH = 2
"""What tells the offer's options from those that served."""
FEWEST_POINTS = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Certificates wait for no numbers, and sentences about killed controllers help nobody."""
    monkeypatch.setattr(receipt, "_AFTER_NS", 0)
    monkeypatch.setattr(receipt, "_REPORT_SLACK", 0.001)
    caplog.set_level(logging.CRITICAL, "changeover")


def killed_at(at: int, stage: Stage, fleet: MemoryFleet, rollout: str) -> Left | None:
    """What is left by a controller that dies at this point of the second rollout, or of its undo; `None` beyond."""
    first = stage.offer(1)
    second = Offer(
        1, first.artifact, parse_plan(f"{{rollout: {{{rollout}}}, runtime: {{max_batch: {BATCH}}}}}"), "load"
    )
    killer = Killer(at)
    with stage.journal() as journal:

        async def life(driver: Driver) -> None:
            await bring(driver, first)
            killer.watch(fleet, journal)
            await bring(driver, second)
            await (driver.undo() if rollout is INSTANT else driver.abort())
            await driver.idle()

        with contextlib.suppress(Killed, ChangeoverError):
            asyncio.run(act(stage.driver(fleet, journal), life))
        journal.before = journal.after = fleet.point = lambda _: None
        return left_by(fleet, journal) if killer.killed else None


def check(driver: Driver, fleet: MemoryFleet, left: Left, *, cold: bool) -> None:
    """The rollout goes on, or has ended as it was decided, and the table agrees with its record."""
    (record, *_) = driver.journal.rollouts.of(MODEL, limit=1)
    decided, table = left.committed if cold else left.decided, fleet.in_force(WORD)
    if not left.unfinished:
        return
    assert table is not None
    assert decided is not None
    phase, wanted = left.unfinished[-1].phase, [e.loading for e in table.loadings if e.max_batch == BATCH]
    if phase == "rolling_back" or (phase == "watching" and decided.active == 1):
        assert (record.phase, wanted) == ("rolled_back", [])
    elif decided.active != 1 and cold:  # promoted, and nothing is kept warm
        assert (record.phase, len(table.loadings)) == ("succeeded", 1)
    elif left.unfinished[-1].record.get("plan") and table.step:
        assert (record.phase, table.step, [table.candidate]) == ("progressing", "5%", wanted)
    else:
        assert (record.phase, [table.active]) == ("watching", wanted)


@pytest.mark.parametrize("cold", [False, True], ids=["controller killed", "machine restarted"])
@pytest.mark.parametrize("rollout", [INSTANT, CANARY], ids=["instant", "canary"])
def test_killed_at_every_point(tmp_path: Path, rollout: str, cold: bool) -> None:
    """What serves is not taken for the target before the target was promoted, and no rollout stands for ever."""
    at = 0
    while True:
        at += 1
        (folder := tmp_path / str(at)).mkdir()
        stage, fleet = Stage(folder), MemoryFleet()
        left = killed_at(at, stage, fleet, rollout)
        if left is None:
            break
        fleet = restarted(fleet, cold=cold)

        async def script(driver: Driver, fleet: MemoryFleet = fleet, left: Left = left) -> None:
            await driver.taken_over.wait()
            await driver.idle()
            check(driver, fleet, left, cold=cold)

        fleet.new_term()
        try:
            with stage.journal() as journal:
                play(stage.driver(fleet, journal), script)
        except BaseException as error:
            error.add_note(f"killed at point {at}: {left.unfinished}, {left.decided}")
            raise
        assert not fleet.broken
    assert at > FEWEST_POINTS
