"""A defect in a step ends that step."""

from __future__ import annotations

import asyncio

import pytest

from changeover.errors import ChangeoverError, Overloaded
from changeover.gateway.sequences.careful import careful
from changeover.gateway.sequences.step import Step
from changeover.gateway.sequences.sweep import Sweeper
from tests.gateway.sequences.house import Shown, house
from tests.gateway.sequences.stateful import stateful, step
from tests.gateway.stage import entry

pytestmark = pytest.mark.anyio


class Fragile:
    """A step that raises what it is given."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.heard: list[ChangeoverError] = []

    @careful
    def do(self) -> None:
        """Raise it."""
        if self.error is not None:
            raise self.error

    def give_up(self, error: ChangeoverError) -> None:
        """See `GivesUp`."""
        self.heard.append(error)


@pytest.mark.parametrize(
    ("error", "reason"), [(KeyError("x"), "internal"), (Overloaded("no", reason="no_memory"), "no_memory")]
)
def test_an_entry_never_raises(error: Exception, reason: str) -> None:
    """What it raised ends the step, an error with a reason as that error."""
    fragile, sound = Fragile(error), Fragile(None)
    fragile.do()
    sound.do()
    assert ([e.reason for e in fragile.heard], sound.heard) == ([reason], [])


@pytest.mark.parametrize("where", ["begin", "returned"])
async def test_a_line_goes_on_after_a_defect(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Whose step met it hears so, the next of the line is answered, and the worker is not blamed."""

    def broken(self: Step, *_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("a defect")

    async with house() as home:
        home.serve(1, stateful(1, "1"))
        assert await home.ask(step(7, 1, start=True)) == 1
        monkeypatch.setattr(Step, "_forget_elsewhere" if where == "begin" else "_hear", broken)
        requests = [home.stage.ask(step(7, n)) for n in (2, 3)]
        await home.stage.answered(*requests)
        assert requests[1].values[0] == (4 if where == "begin" else 6)
        if where == "begin":
            assert (requests[0].status, requests[0].json()["reason"]) == (500, "internal")
        assert not home.stage.denounced
        assert home.stage.models.targets[1].held == 0


async def test_a_defect_of_the_sweeper_costs_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock that sweeps answers those whose time is over."""

    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    short = {b"changeover-timeout": b"0.05"}
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        assert await home.ask(step(7, 1, start=True)) == 1
        home.stage.models.targets[1].slab = Shown(home.workers[1])  # type: ignore[assignment]
        home.serve(2, stateful(2, "2"))
        monkeypatch.setattr(Sweeper, "_sweep", broken)
        monkeypatch.setattr(Step, "check", broken)
        for task in home.tasks:
            task.cancel()
        await asyncio.sleep(0)
        assert await home.ask(step(8, 1, start=True, headers=short)) == "deadline_exceeded"


async def test_a_step_of_a_model_that_keeps_no_sequences_any_more() -> None:
    """It waited in its line while a version without state took over: it is refused, and nothing else happens."""
    async with house() as home:
        home.serve(1, stateful(1, "1"))
        assert await home.ask(step(7, 1, start=True)) == 1
        home.stage.models.targets[1].slab = Shown(home.workers[1])  # type: ignore[assignment]
        home.tasks[0].cancel()
        requests = [home.stage.ask(step(7, n)) for n in (2, 3)]
        await asyncio.sleep(0)
        home.stage.serve(2, entry(2, "2"))
        home.start(1, home.workers[1])
        await home.stage.answered(*requests)
        assert requests[0].values[0] == 3
        assert (requests[1].status, requests[1].json()["reason"]) == (400, "sequence_unknown")
