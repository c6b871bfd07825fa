"""The chronicle: what is told is on record in order, also when the journal is sick for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from changeover.controller.events import chronicle as chronicles
from changeover.controller.events.chronicle import Chronicle
from tests.rollout.stage import ScriptedJournal, until


def test_what_is_told_is_on_record(tmp_path: Path) -> None:
    """In order, and who tells it does not wait."""

    async def script(journal: ScriptedJournal) -> None:
        chronicle = Chronicle(journal)
        running = asyncio.create_task(chronicle.run())
        gate = journal.block()
        for number in range(5):
            chronicle.note("operator", "m", {"n": number})
        gate.set()
        await until(lambda: journal.events.last() == 5)
        assert [e.body["n"] for e in journal.events.after()] == [0, 1, 2, 3, 4]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with ScriptedJournal(tmp_path / "journal.db") as journal:
        asyncio.run(script(journal))


def test_a_sick_journal_gets_it_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest thousand, in order."""
    monkeypatch.setattr(chronicles, "_AGAIN", 0.01)

    async def script(journal: ScriptedJournal) -> None:
        journal.fail()
        chronicle = Chronicle(journal)
        running = asyncio.create_task(chronicle.run())
        for number in range(1500):
            chronicle.note("operator", "m", {"n": number})
        await until(lambda: journal.writes > 2)
        journal.heal()
        await until(lambda: journal.events.last() == 1000)
        assert [e.body["n"] for e in journal.events.after(limit=2000)] == list(range(500, 1500))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with ScriptedJournal(tmp_path / "journal.db") as journal:
        asyncio.run(script(journal))
