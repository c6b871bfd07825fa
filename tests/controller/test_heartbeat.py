"""The heartbeat: a beat a second, and samples only while somebody listens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from changeover.controller import heartbeat
from changeover.controller.alarms.watch import Watch
from changeover.controller.events.feed import Feed
from changeover.controller.fleet import Fleet
from changeover.records.journal import Journal
from changeover.settings import Settings
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import until


def test_samples_are_made_for_those_who_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats go on without them."""
    monkeypatch.setattr(heartbeat, "TICK", 0.01)
    fleet, ticks = MemoryFleet(), []
    fleet.observatory.pulse.tick = ticks.append  # type: ignore[method-assign]

    async def script(journal: Journal) -> None:
        feed = Feed(journal)
        watch = Watch(Settings(alert_memory=0), journal, cast(Fleet, fleet))
        heart = heartbeat.Heartbeat(feed, {"alarms": watch}, cast(Fleet, fleet), journal)
        beating = asyncio.create_task(heart.run({}))
        await until(lambda: len(ticks) > 3)
        assert feed.sample is None
        feed.sampled = 1
        await until(lambda: feed.newest > 2)
        assert feed.sample is not None
        assert feed.sample.document["models"] == {}
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)

    with Journal(tmp_path / "journal.db") as journal:
        asyncio.run(script(journal))


def test_a_defect_of_the_alarms_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in the log with its traceback, and beats go on."""
    monkeypatch.setattr(heartbeat, "TICK", 0.01)
    fleet, looks = MemoryFleet(), []

    async def broken(_: object) -> None:
        looks.append(1)
        raise ZeroDivisionError

    async def script(journal: Journal) -> None:
        watch = Watch(Settings(), journal, cast(Fleet, fleet))
        monkeypatch.setattr(watch, "look", broken)
        heart = heartbeat.Heartbeat(Feed(journal), {"alarms": watch}, cast(Fleet, fleet), journal)
        beating = asyncio.create_task(heart.run({}))
        await until(lambda: len(looks) > 2)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)

    with Journal(tmp_path / "journal.db") as journal:
        asyncio.run(script(journal))
    assert "ZeroDivisionError" in caplog.text


def test_a_defect_of_the_samples_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same, and the next one may be well."""
    monkeypatch.setattr(heartbeat, "TICK", 0.01)
    tries: list[int] = []

    async def broken_at_first(*_: object) -> dict[str, object]:
        tries.append(1)
        return {"models": {}} if len(tries) > 2 else {}["models"]

    monkeypatch.setattr(heartbeat, "sample", broken_at_first)

    async def script(journal: Journal) -> None:
        fleet, feed = cast(Fleet, MemoryFleet()), Feed(journal)
        watch = Watch(Settings(alert_memory=0), journal, fleet)
        feed.sampled = 1
        beating = asyncio.create_task(heartbeat.Heartbeat(feed, {"alarms": watch}, fleet, journal).run({}))
        await until(lambda: feed.newest > 0 or beating.done())
        assert not beating.done()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)

    with Journal(tmp_path / "journal.db") as journal:
        asyncio.run(script(journal))
    assert "no sample could be made" in caplog.text
