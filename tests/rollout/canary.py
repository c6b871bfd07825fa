"""Driving canaries in tests: a judge in the test's hands, one look at a time."""

from __future__ import annotations

from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.transport.control import BUCKETS
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.scripted_judge import ScriptedJudge, says
from tests.rollout.stage import WORD


def judged(driver: Driver) -> ScriptedJudge:
    """From now on this judge rules."""
    judge = ScriptedJudge()
    driver.vigil.hearing.make = lambda _: judge
    return judge


async def tick(driver: Driver, judge: ScriptedJudge, word: str = "waiting", reason: str | None = None) -> None:
    """One look at the rollout, with this verdict."""
    judge.says = says(word, reason)
    driver.enqueue(driver.look)
    await driver.idle()


def stands(driver: Driver) -> tuple[Phase, str | None]:
    """Phase and step of the rollout in hand."""
    assert driver.current is not None
    return driver.current.rollout.phase, driver.current.rollout.step


def shares(fleet: MemoryFleet) -> dict[str, int]:
    """Buckets by version, of the table in force."""
    table = fleet.in_force(WORD)
    assert table is not None
    versions = {entry.loading: entry.version for entry in table.loadings}
    assert sum(count for count, _ in table.buckets) == BUCKETS
    return {versions[number]: count for count, number in table.buckets}
