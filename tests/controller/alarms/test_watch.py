"""The watch: what fires is on record before anybody is told, and a sick journal loses none of it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import cast

import pytest

from changeover.controller.alarms import lookout
from changeover.controller.alarms import watch as module
from changeover.controller.alarms.alarms import Alarm
from changeover.controller.alarms.condition import Condition, Key
from changeover.controller.alarms.watch import Watch
from changeover.controller.fleet import Fleet
from changeover.records.journal import Journal
from changeover.runtime.machine import Memory
from changeover.settings import Settings
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, ScriptedJournal, Stage


def looks(watch: Watch, number: int) -> None:
    """So many, of a machine without models."""

    async def script() -> None:
        for _ in range(number):
            await watch.look({})

    asyncio.run(script())


def of(journal: Journal) -> Watch:
    """A watch of the next controller."""
    return Watch(Settings(), journal, cast(Fleet, MemoryFleet()))


def full(monkeypatch: pytest.MonkeyPatch, *, yes: bool = True) -> None:
    """The machine's memory is nearly all taken, or not."""
    monkeypatch.setattr(lookout.machine, "memory", lambda: Memory(100, 5 if yes else 50, "host"))


def test_an_alarm_is_told_once_over_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Firing under one controller and resolved under the third: two events, two lines, whoever asks meanwhile."""
    caplog.set_level(logging.INFO, "changeover.alerts")
    full(monkeypatch)
    with Journal(tmp_path / "journal.db") as journal:
        first = of(journal)
        looks(first, 5)
        (since,) = [alarm["since"] for alarm in asyncio.run(first.firing())]
        assert [alarm["alert"] for alarm in asyncio.run(first.firing())] == ["memory"]
    with Journal(tmp_path / "journal.db") as journal:
        second = of(journal)
        assert [alarm["alert"] for alarm in asyncio.run(second.firing())] == ["memory"]
        looks(second, 5)
        assert [alarm["since"] for alarm in asyncio.run(second.firing())] == [since]
    full(monkeypatch, yes=False)
    with Journal(tmp_path / "journal.db") as journal:
        third = of(journal)
        looks(third, 30)
        assert (asyncio.run(third.firing()), journal.alarms.firing()) == ([], [])
        assert [event.body["state"] for event in journal.events.after()] == ["firing", "resolved"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_full_disk_delays_the_record_and_not_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is written when that is possible again, once."""
    full(monkeypatch)
    with ScriptedJournal(tmp_path / "journal.db") as journal:
        watch = of(journal)
        journal.fail()
        looks(watch, 10)
        assert journal.events.last() == 0
        assert "firing memory: 95.0% of the machine's" in caplog.text
        journal.heal()
        looks(watch, 2)
        assert [event.body["state"] for event in journal.events.after()] == ["firing"]


def test_an_alarm_of_another_release_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be known when that ends."""
    full(monkeypatch, yes=False)
    with Journal(tmp_path / "journal.db") as journal:
        journal.alarms.record("strange", None, {"alert": "strange", "state": "firing"})
        watch = of(journal)
        looks(watch, 1)
        assert asyncio.run(watch.firing()) == []


def test_an_alarm_outlasts_the_recovery_of_its_model(tmp_path: Path) -> None:
    """A controller that starts does not say that it is over, only because it has not found the version yet."""
    stage, fleet = Stage(tmp_path), MemoryFleet()
    key = Key("errors", MODEL, "1")
    condition = Condition(key, True, 0.5, 0.001, "half of them fail")

    async def script(journal: Journal) -> None:
        journal.alarms.record(str(key), MODEL, Alarm(key, "firing", "2026-01-31T12:00:00Z", condition).body())
        driver = stage.driver(fleet, journal)
        watch = Watch(Settings(alert_memory=0), journal, cast(Fleet, fleet))
        driver.taken_over.set()
        await watch.look({MODEL: driver})
        assert [alarm["alert"] for alarm in await watch.firing()] == ["errors"]
        driver.recovered.set()
        await watch.look({MODEL: driver})
        assert not await watch.firing()

    with stage.journal() as journal:
        asyncio.run(script(journal))


@pytest.mark.parametrize(("most", "fewest"), [(3600.0, 0), (-1.0, 4)])
def test_others_have_their_turn_while_many_models_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, fewest: int
) -> None:
    """After some milliseconds of looking, and not before."""
    monkeypatch.setattr(module, "_TURN", most)
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def script(watch: Watch) -> None:
        await watch.look({})  # what is on record is known now
        monkeypatch.setattr(watch._lookout, "parts", lambda *_: iter([[]] * 4))
        task = asyncio.create_task(other())
        await watch.look({})
        assert len(turns) == fewest
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with Journal(tmp_path / "journal.db") as journal:
        asyncio.run(script(of(journal)))
