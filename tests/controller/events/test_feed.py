"""The feed: every event once and in order to each listener, from wherever it left off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from changeover.controller.events import feed as feeds
from changeover.controller.events.feed import Feed, Wanted, document, lines
from changeover.errors import Internal
from changeover.records.events import Event
from changeover.records.journal import Journal
from tests.rollout.stage import until


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def run(journal: Journal, script: Callable[[Feed], Awaitable[None]]) -> None:
    """A feed, until the script is done."""

    async def both() -> None:
        feed = Feed(journal)
        running = asyncio.create_task(feed.run())
        await asyncio.wait_for(script(feed), 20)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(both())


async def taken(feed: Feed, place: int, number: int) -> list[int]:
    """Numbers of the next so many events after a place."""
    found: list[int] = []
    while len(found) < number:
        events = await feed.next(found[-1] if found else place)
        found += [event.id for event in events]
        if not events:
            await feed.news(found[-1] if found else place, None, 5)
    return found


def test_new_events_reach_a_listener_in_order(journal: Journal) -> None:
    """Also those that several threads add, and that were there before the feed began."""
    journal.events.add("before")

    async def script(feed: Feed) -> None:
        place, reset = await feed.place(None)
        assert (place, reset) == (1, None)
        await asyncio.gather(*(asyncio.to_thread(journal.events.add, "e", f"m{n}") for n in range(50)))
        assert await taken(feed, place, 50) == list(range(2, 52))
        assert (await feed.place(0), await feed.place(7)) == ((0, None), (7, None))
        assert await taken(feed, 0, 51) == list(range(1, 52))

    run(journal, script)


def test_older_ones_come_from_the_journal(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the place, there is no gap and no repeat between what is read and what is kept."""
    monkeypatch.setattr(feeds, "_RECENT", 10)
    monkeypatch.setattr(feeds, "_AT_ONCE", 7)
    for _ in range(30):
        journal.events.add("old")

    async def script(feed: Feed) -> None:
        await feed.place(None)
        for _ in range(30):
            journal.events.add("new")
        for place in (0, 12, 29, 30, 45, 55):
            assert await taken(feed, place, 60 - place) == list(range(place + 1, 61))

    run(journal, script)


def test_a_place_that_is_no_more_is_told(journal: Journal) -> None:
    """Pruned, or of another journal: a reset, and the oldest that is there; 0 asks for just that."""
    for _ in range(20):
        journal.events.add("e")
    journal.events.prune(5)

    async def script(feed: Feed) -> None:
        told = {"type": "reset", "model": None, "first": 16, "last": 20}
        assert await feed.place(14) == (15, told | {"asked": 14})
        assert await feed.place(99) == (15, told | {"asked": 99})
        assert await feed.place(15) == (15, None)
        assert await feed.place(20) == (20, None)
        assert await feed.place(0) == (15, None)

    run(journal, script)


def test_a_journal_that_cannot_be_read_is_asked_again(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost by it."""
    monkeypatch.setattr(feeds, "_AGAIN", 0.01)
    real, fails = journal.events.after, iter([Internal("sick", reason="journal_defect")] * 2)

    def after(event: int = 0, *, model: str | None = None, limit: int = 1000) -> list[Event]:
        for error in fails:
            raise error
        return real(event, model=model, limit=limit)

    monkeypatch.setattr(journal.events, "after", after)

    async def script(feed: Feed) -> None:
        place, _ = await feed.place(None)
        journal.events.add("e")
        assert await taken(feed, place, 1) == [1]
        assert next(fails, None) is None

    run(journal, script)


def test_a_sample_wakes_those_who_want_it(journal: Journal) -> None:
    """And nobody else; only the newest is there."""

    async def script(feed: Feed) -> None:
        place, _ = await feed.place(None)
        wants = asyncio.create_task(feed.news(place, 0, 60))
        wants_none = asyncio.create_task(feed.news(place, None, 60))
        await asyncio.sleep(0)
        feed.show({"a": 1})
        feed.show({"a": 2})
        await wants
        assert feed.sample is not None
        assert (feed.sample.document, feed.newest) == ({"a": 2}, 2)
        journal.events.add("e")
        await until(wants_none.done)

    run(journal, script)


@pytest.mark.parametrize(
    ("wanted", "kind", "model", "takes"),
    [
        (Wanted(), "rollout", "m", True),
        (Wanted("m"), "rollout", "m", True),
        (Wanted("m"), "rollout", "n", False),
        (Wanted("m"), "alert", None, True),
        (Wanted(None, frozenset({"alert"})), "rollout", "m", False),
        (Wanted("m", frozenset({"alert"})), "alert", "m", True),
    ],
)
def test_what_is_wanted(wanted: Wanted, kind: str, model: str | None, takes: bool) -> None:
    """By model and type; what is about no model is about all."""
    assert wanted.takes(kind, model) is takes


def test_an_event_on_the_wire() -> None:
    """One line of JSON with its number before it, and the time as a number."""
    event = Event(7, "2026-01-31T12:00:00.250000Z", "rollout", "m", {"phase": "paused"})
    told = document(event)
    assert told == {
        "type": "rollout", "id": 7, "at": 1769860800.25, "time": event.time, "model": "m", "phase": "paused",
    }  # fmt: skip
    assert lines({"a": "b\nc"}, 7) == b'id: 7\ndata: {"a":"b\\nc"}\n\n'
    assert lines({}) == b"data: {}\n\n"


def test_a_burst_is_read_a_few_times(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rollout writes in a tenth of a second is read together, and a read that was not full is not repeated."""
    reads: list[int] = []
    after = journal.events.after

    def counted(place: int, limit: int) -> list[Event]:
        found = after(place, limit=limit)
        reads.append(len(found))
        return found

    monkeypatch.setattr(journal.events, "after", counted)

    async def script(feed: Feed) -> None:
        place, _ = await feed.place(None)
        for _ in range(40):
            await asyncio.to_thread(journal.events.add, "e")
        assert len(await taken(feed, place, 40)) == 40

    run(journal, script)
    assert sum(reads) == 40
    assert len(reads) < 15, reads
