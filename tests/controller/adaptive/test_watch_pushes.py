"""The watch over models whose plan has it push: one tuning after the other, and what becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from changeover.errors import Internal
from changeover.rollout.machine import Phase
from changeover.rollout.plan import parse_plan
from tests.controller.adaptive.house import HARDWARE, Answer, House
from tests.rollout.stage import ScriptedJournal

PUSH = "adaptive: {every: 1s, hold: 10s, apply: push}"


async def others_done() -> None:
    """What the watch has begun comes to its end."""
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


@pytest.mark.parametrize(
    ("answer", "states", "detail"),
    [
        (("pushed", "2 x as fast", {"version": "4", "rollout": "r-000009"}), ["pushed"], "2 x as fast"),
        (("kept", "nothing was better", {}), ["kept"], "nothing was better"),
        (Internal("the disk is full"), ["failed"], "the disk is full"),
        (ZeroDivisionError("a defect"), ["failed"], "a defect"),
    ],
)
def test_what_is_pushed(
    house: Callable[..., House], answer: Answer | Exception, states: list[str], detail: str
) -> None:
    """Each step is an event, with the version and the rollout that came of it; a defect there ends nothing."""
    made = house("adaptive: {hold: 10s, apply: push}")
    made.retuned = [answer]

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(30, rate=80)

    made.run(script)
    assert made.states() == ["proposed", "tuning", *states]
    assert detail in made.proposal["detail"]
    wanted = ("4", "r-000009") if states == ["pushed"] else (None, None)
    assert (made.proposal["version"], made.proposal["rollout"]) == wanted


def test_a_tuning_that_the_controller_did_not_outlive(house: Callable[..., House]) -> None:
    """The next one says that nothing came of it, and does not begin it again by itself."""
    first = house("adaptive: {hold: 10s, apply: push}")

    async def script() -> None:
        first.retuned = [asyncio.CancelledError()]
        await first.seconds(12)
        await first.seconds(30, rate=80)

    first.run(script)
    assert first.states() == ["proposed", "tuning"]
    second = house("adaptive: {hold: 10s, apply: push}")
    second.now = first.now
    second.run(lambda: second.seconds(40, rate=80))
    assert second.states() == ["proposed", "tuning", "failed"]
    assert "ended meanwhile" in second.proposal["detail"]


def test_a_sick_journal_while_what_was_tuned_is_rolled_out(
    house: Callable[..., House], journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it was pushed is on record with the next slice, not at the end of its rollout."""
    made = house(PUSH)

    async def pushed(*_: object) -> Answer:
        journal.fail()
        made.driver.current = SimpleNamespace(rollout=SimpleNamespace(phase=Phase.VALIDATING))
        return "pushed", "2 x as fast", {"version": "4", "rollout": "r-000009"}

    monkeypatch.setattr(made.watch, "_retune", pushed)

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(12, rate=80)
        await others_done()
        assert made.states() == ["proposed", "tuning"]
        journal.heal()
        await made.seconds(2, rate=80)

    made.run(script)
    assert made.states() == ["proposed", "tuning", "pushed"]
    assert made.proposal["rollout"] == "r-000009"


def test_one_tuning_after_the_other(house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    """While one waits or runs no other is begun, however often the plan would have it; afterwards there may be."""
    made = house(PUSH)
    begun, done = asyncio.Semaphore(0), asyncio.Event()

    async def slowly(*_: object) -> Answer:
        begun.release()
        await done.wait()
        return "kept", "nothing was better", {}

    monkeypatch.setattr(made.watch, "_retune", slowly)

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(12, rate=80)
        await begun.acquire()
        for rate in (800, 80, 800):
            await made.seconds(15, rate=rate)
        assert made.states() == ["proposed", "tuning"]
        done.set()
        await others_done()
        assert begun.locked()
        await made.seconds(15, rate=800)
        await others_done()

    made.run(script)
    assert made.states() == ["proposed", "tuning", "kept"] * 2


@pytest.mark.parametrize(("plan", "wanted"), [(PUSH, []), ("adaptive: {hold: 10s}", ["proposed"])])
def test_a_rollout_is_not_pushed_over(house: Callable[..., House], plan: str, wanted: list[str]) -> None:
    """Nothing is proposed to be pushed before the end of the undo window; a proposal in words disturbs nobody."""
    made = house(plan)
    made.retuned = [("kept", "nothing was better", {})]

    async def script() -> None:
        await made.seconds(12)
        made.driver.current = SimpleNamespace(rollout=SimpleNamespace(phase=Phase.WATCHING))
        made.hardware = replace(HARDWARE, cores=4)
        await made.seconds(20)
        assert made.states() == wanted
        made.driver.current.rollout.phase = Phase.SUCCEEDED
        await made.seconds(2)

    made.run(script)
    assert made.states()[:1] == ["proposed"]


@pytest.mark.parametrize("change", ["plan", "runtime", "journal"])
def test_what_nobody_wants_any_more_is_not_tuned(
    house: Callable[..., House], journal: ScriptedJournal, change: str
) -> None:
    """The plan says something else, other options serve, or no restart would know that it was begun."""
    made = house(PUSH)
    made.retuned = [("kept", "it was tuned all the same", {})]
    made.watch._turn = asyncio.Semaphore(0)

    async def script() -> None:
        await made.seconds(12)
        await made.seconds(12, rate=80)
        if change == "plan":
            made.driver.active.plan = parse_plan("adaptive: {every: 2s, hold: 10s, apply: push}")
        elif change == "runtime":
            made.driver.active.plan = parse_plan(f"{PUSH}\nruntime: {{max_batch: 2}}")
        else:
            journal.fail()
        made.watch._turn.release()
        await others_done()
        journal.heal()
        await made.watch._write("m", made.watch._models["m"])

    made.run(script)
    assert made.states() == ["proposed", "tuning", "failed"]
    assert len(made.retuned) == 1
