"""The webhook: every alert once and in order, whatever its receiver does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from changeover.controller.alarms import webhook as module
from changeover.controller.alarms.webhook import Webhook
from changeover.controller.events import feed as feed_module
from changeover.controller.events.feed import Feed
from changeover.errors import Internal
from changeover.records.events import Event
from changeover.records.journal import Journal
from tests.controller.alarms.receiver import Receiver
from tests.controller.alarms.test_notice import ALERT
from tests.free_port import free_port
from tests.rollout.stage import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause worth the name."""
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.05)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def alert(number: int, state: str = "firing") -> dict[str, Any]:
    """The body of one."""
    told = {name: value for name, value in ALERT.items() if name not in ("type", "id", "at", "time", "model")}
    return told | {"value": number, "state": state}


@asynccontextmanager
async def running(journal: Journal, url: str, form: str = "json", firing: Any = None) -> AsyncIterator[None]:
    """A feed and a webhook, as one controller has them."""
    feed = Feed(journal)
    hook = Webhook(url, form, "http://127.0.0.1:8002", feed, journal, firing or none)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(hook.run())]
    await until(lambda: any(task.done() for task in tasks) or feed._begun.is_set())
    yield
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def none() -> list[dict[str, Any]]:
    """Nothing fires."""
    return []


def values(receiver: Receiver) -> list[Any]:
    """Of the alerts that it took."""
    return [got["value"] for got in receiver.got]


def test_all_is_told_once_and_in_order_to_a_receiver_that_is_unwell(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses, hangs, answers 500 and nonsense; other events are none of its business."""
    monkeypatch.setattr(module, "PATIENCE", 1.0)

    async def script(receiver: Receiver) -> None:
        async with running(journal, receiver.url):
            for number in range(6):
                journal.events.add("rollout", "m", {})
                journal.alarms.record(f"errors/{number}", "m", alert(number))
            await until(lambda: len(receiver.got) == 6)
            await until(lambda: journal.alarms.told == 12)

    with Receiver("refuse", "hang", "500", "ok", "nonsense", "503", "drip") as receiver:
        asyncio.run(script(receiver))
        assert values(receiver) == [0, 1, 2, 3, 4, 5]
        assert receiver.got[0]["id"] == 2
        assert receiver.tried == 12


def test_what_happens_while_nobody_is_there_is_told_later(journal: Journal) -> None:
    """The receiver comes up on its port after the alert, and gets it; what was before the first webhook is history."""
    journal.alarms.record("errors/a", "m", alert(1))
    port = free_port()

    async def script() -> None:
        async with running(journal, f"http://127.0.0.1:{port}/"):
            journal.alarms.record("errors/a", "m", alert(2, "resolved"))
            await asyncio.sleep(0.1)
            with Receiver(port=port) as receiver:
                await until(lambda: len(receiver.got) == 1)
                assert values(receiver) == [2]

    asyncio.run(script())


def test_a_next_controller_goes_on_where_the_last_one_was(journal: Journal) -> None:
    """What was told is not told again, what was not is, in order."""

    async def script(receiver: Receiver) -> None:
        async with running(journal, receiver.url):
            journal.alarms.record("errors/a", "m", alert(1))
            await until(lambda: journal.alarms.told == 1)
        journal.alarms.record("errors/b", "m", alert(2))
        journal.alarms.record("errors/a", "m", alert(3, "resolved"))
        async with running(journal, receiver.url):
            await until(lambda: len(receiver.got) == 3)

    with Receiver() as receiver:
        asyncio.run(script(receiver))
        assert values(receiver) == [1, 2, 3]


def test_what_is_refused_for_good_does_not_hold_up_the_rest(journal: Journal) -> None:
    """Three times, then the next one."""

    async def script(receiver: Receiver) -> None:
        async with running(journal, receiver.url):
            for number in range(2):
                journal.alarms.record(f"errors/{number}", "m", alert(number))
            await until(lambda: len(receiver.got) == 1)

    with Receiver("400", "404", "410") as receiver:
        asyncio.run(script(receiver))
        assert (values(receiver), receiver.tried) == ([1], 4)


def test_alerts_that_are_kept_no_more_are_missed_in_the_log(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """And it goes on with what is there."""

    async def script(receiver: Receiver) -> None:
        journal.alarms.tell(1)
        for number in range(5):
            journal.alarms.record(f"errors/{number}", "m", alert(number))
        journal.events.prune(1)
        async with running(journal, receiver.url):
            await until(lambda: len(receiver.got) == 1)

    with Receiver() as receiver:
        asyncio.run(script(receiver))
        assert values(receiver) == [4]
    assert "never told" in caplog.text


def test_alertmanager_is_reminded(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgets what it does not hear of; a receiver of our own form is not."""
    monkeypatch.setattr(module, "_REPEAT", 0.05)

    async def firing() -> list[dict[str, Any]]:
        return [{"model": "m", **alert(1)}]

    async def script(receiver: Receiver, form: str, enough: int) -> None:
        async with running(journal, receiver.url, form, firing):
            journal.alarms.record("errors/a", "m", alert(1))
            await until(lambda: len(receiver.got) >= enough)
            await asyncio.sleep(0.2)

    with Receiver("ok", "500") as receiver:
        asyncio.run(script(receiver, "alertmanager", 3))
        assert all(got == receiver.got[0] for got in receiver.got)
        assert receiver.got[0][0]["labels"]["alertname"] == "ChangeoverLatencyOverPast"
    with Receiver() as receiver:
        asyncio.run(script(receiver, "json", 1))
        assert len(receiver.got) == 1


def test_alertmanager_is_reminded_while_other_events_come_without_a_pause(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """News of something else is no reason to forget what fires."""
    monkeypatch.setattr(module, "_REPEAT", 0.5)

    async def firing() -> list[dict[str, Any]]:
        return [{"model": "m", **alert(1)}]

    async def script(receiver: Receiver) -> None:
        async with running(journal, receiver.url, "alertmanager", firing):
            journal.alarms.record("errors/a", "m", alert(1))
            for _ in range(400):  # one each 10 ms, where a reminder needs 500 ms of quiet or none
                await asyncio.to_thread(journal.events.add, "rollout", "m", {})
                await asyncio.sleep(0.01)
                if len(receiver.got) >= 3:
                    break
            assert len(receiver.got) >= 3

    with Receiver() as receiver:
        asyncio.run(script(receiver))


@pytest.mark.parametrize("form", ["json", "alertmanager"])
def test_a_damaged_row_and_a_sick_journal_end_nothing(
    form: str, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be read is told: after a row that cannot be, an alert of no release of ours, and reads that fail."""
    monkeypatch.setattr(feed_module, "_RECENT", 1)
    journal.alarms.tell(0)
    for number in range(3):
        journal.alarms.record(f"errors/{number}", "m", alert(number))
    journal.events.add("alert", "m", {"other": 1})
    journal.alarms.record("errors/9", "m", alert(9))
    journal._database.write("UPDATE events SET body = x'7b' WHERE id = 2")
    failures = iter([True, True])
    after = journal.events.after

    def sick(place: int = 0, *, model: str | None = None, limit: int = 1000) -> list[Event]:
        if place == 0 and next(failures, False):
            raise Internal("sick", reason="journal_corrupt")
        return after(place, model=model, limit=limit)

    async def script(receiver: Receiver) -> None:
        async with running(journal, receiver.url, form):
            monkeypatch.setattr(journal.events, "after", sick)
            await until(lambda: len(receiver.got) == (4 if form == "json" else 1))

    with Receiver() as receiver:
        asyncio.run(script(receiver))
    if form == "json":
        assert [got.get("value") for got in receiver.got] == [0, 2, None, 9]
    else:
        assert len(receiver.got[0]) == 3
