"""A life of canaries that is killed before and after each transition, by name, and what must hold then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from changeover.errors import ChangeoverError
from changeover.rollout.current import Current
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.offer import Offer
from changeover.rollout.plan import parse_plan
from changeover.rollout.recording import Recorder, Unrecorded
from tests.rollout.canary import judged, tick
from tests.rollout.crash import Killed, Killer
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import MODEL, WORD, Stage, act, play, until

ENDS = {"1": "succeeded", "2": "succeeded", "3": "failed", "4": "rolled_back", "5": "rolled_back", "6": "rolled_back"}
"""How each version's rollout ends, whatever happens on the way."""
FATES = {"3": Fate.FAILS}


def offers_of(stage: Stage) -> dict[int, Offer]:
    """2 is good, 3 refused, 4 goes by hand, 5 is bad, 6 is promoted by hand and taken back."""
    steps = "steps: [shadow, 5%], undo_window: 60s"
    offers = {version: stage.canary(version, steps) for version in (1, 2, 3, 5, 6)}
    manual = "rollout: {strategy: manual, undo_window: 60s}\n"
    return {**offers, 4: Offer(4, stage.artifact(4, manual), parse_plan(manual), "push")}


async def life(driver: Driver, offers: dict[int, Offer]) -> None:
    """All of them, one after the other."""
    judge = judged(driver)
    await driver.offer(offers[1])
    await driver.offer(offers[2])
    await driver.idle()
    await tick(driver, judge, "clear")
    await driver.pause()
    await driver.resume()
    await tick(driver, judge, "clear")
    await driver.offer(offers[3])  # ends the undo window
    await driver.offer(offers[4])
    await driver.idle()
    await driver.set_weight(3000)
    await driver.abort()
    await driver.offer(offers[5])
    await driver.idle()
    await tick(driver, judge, "failed", "error_rate")
    await driver.offer(offers[6])
    await driver.idle()
    await driver.promote()
    await driver.undo()
    await driver.idle()
    await until(lambda: len(asyncio.all_tasks()) == 3)


async def to_the_end(driver: Driver) -> None:
    """What the judge and the operator would have gone on to do."""
    judge = judged(driver)
    await driver.taken_over.wait()
    await driver.idle()
    for _ in range(30):
        current = driver.current
        if current is None or current.rollout.phase.terminal:
            break
        await _one_more(driver, current, judge)
        await driver.idle()
    await until(lambda: not driver.journal.rollouts.unfinished() and not driver.switch.owes)
    await driver.idle()


async def _one_more(driver: Driver, current: Current, judge: Any) -> None:
    version, phase = current.offer.version, current.rollout.phase
    if phase is Phase.WATCHING:
        await (driver.undo() if version == 6 else driver.end_window())
    elif version in (4, 6):
        await driver.abort()
    elif version == 5:
        await tick(driver, judge, "failed", "error_rate")
    elif phase is Phase.PAUSED:
        await driver.resume()
    else:
        await tick(driver, judge, "clear")


@dataclass(frozen=True)
class Known:
    """What a dead controller's journal says of each rollout: phase and history by id."""

    phases: dict[str, str]
    histories: dict[str, list[Any]]


def named(patch: pytest.MonkeyPatch, killer: Killer) -> None:
    """A point before and after each transition is on record."""
    record = Recorder.record

    async def noted(self: Recorder, current: Current, *, asked: bool, moves: bool) -> Unrecorded | None:
        rollout = current.rollout
        name = " ".join(str(part) for part in (rollout.target, rollout.phase, rollout.step) if part)
        killer(f"before {name}")
        done = await record(self, current, asked=asked, moves=moves)
        killer(f"after {name}")
        return done

    patch.setattr(Recorder, "record", noted)


def killed_at(
    at: int | str, stage: Stage, offers: dict[int, Offer], fleet: MemoryFleet, path: str
) -> tuple[Known, Killer]:
    """Live until a point of that name; 0 lives to the end."""
    killer = Killer(at)
    with stage.journal(path) as journal, pytest.MonkeyPatch.context() as patch:
        driver = stage.driver(fleet, journal)
        named(patch, killer)
        try:
            asyncio.run(act(driver, lambda d: life(d, offers)))
        except (Killed, ChangeoverError):
            assert at
        known = known_of(journal)
    return known, killer


def known_of(journal: Any) -> Known:
    records = journal.rollouts.of(MODEL)
    return Known({r.id: r.phase for r in records}, {r.id: list(r.record.get("history", [])) for r in records})


def recovered(stage: Stage, fleet: MemoryFleet, path: str, before: Known) -> None:
    """The next term: every rollout that is on record comes to its end, and no other ever serves."""

    async def script(driver: Driver) -> None:
        await to_the_end(driver)
        check(driver, fleet, before)

    fleet.new_term()
    with stage.journal(path) as journal:
        play(stage.driver(fleet, journal), script)
    assert not fleet.broken, fleet.broken


def check(driver: Driver, fleet: MemoryFleet, before: Known) -> None:
    """Ends, histories, and one version with one worker."""
    now = known_of(driver.journal)
    assert before.phases.keys() <= now.phases.keys()
    for rollout, history in before.histories.items():
        assert now.histories[rollout][: len(history)] == history, rollout
    ended = {str(r.target.version): r.phase for r in driver.journal.rollouts.of(MODEL)}
    kept = ended.get("6") == "succeeded"  # after a restart of the machine there is no standby to go back to
    assert not kept or before.phases["r-000006"] in ("promoting", "watching")
    assert ended == {version: ENDS[version] for version in ended} | ({"6": "succeeded"} if kept else {})
    serving = "6" if kept else "2" if "2" in ended else "1" if "1" in ended else None
    table = fleet.in_force(WORD)
    assert (table is None) is (serving is None)
    if table is not None:
        assert [entry.version for entry in table.loadings] == [serving]
        assert table.buckets == [(10_000, table.active)]
    assert [spec.version for spec in fleet.alive.values()] == ([serving] if serving else [])
