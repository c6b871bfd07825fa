"""Events: in order, from where the reader left off, never with an old number."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.records import events
from changeover.records.journal import Journal


def test_a_reader_goes_on_where_it_was(tmp_path: Path) -> None:
    """By the last id seen, of all models or one, up to a limit."""
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.events.last() == 0
        first = journal.events.add("started")
        second = journal.events.add("refused", "m", {"reason": "not_onnx"})
        third = journal.events.add("released", "n")
        assert journal.events.after() == [first, second, third]
        assert journal.events.after(first.id, limit=1) == [second]
        assert journal.events.after(model="n") == [third]
        assert journal.events.last() == third.id
        assert (second.kind, second.model, second.body) == ("refused", "m", {"reason": "not_onnx"})


def test_dropped_events_keep_their_numbers(tmp_path: Path) -> None:
    """After all were dropped the next one still has a higher id, also over a restart."""
    with Journal(tmp_path / "journal.db") as journal:
        for _ in range(10):
            last = journal.events.add("e")
        assert journal.events.prune(4) == 6
        assert [event.id for event in journal.events.after()] == [last.id - 3, last.id - 2, last.id - 1, last.id]
        assert journal.events.prune(0) == 4
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.events.add("e").id == last.id + 1


def test_who_listens_hears_of_each(tmp_path: Path) -> None:
    """Once an event, before the writer goes on; the oldest one kept is known too."""
    with Journal(tmp_path / "journal.db") as journal:
        heard: list[int] = []
        journal.events.heard = lambda: heard.append(1)
        assert journal.events.first() == 0
        for _ in range(3):
            journal.events.add("e")
        journal.events.prune(2)
        assert (len(heard), journal.events.first()) == (3, 2)


def test_the_oldest_make_room_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come between two sweeps."""
    monkeypatch.setattr(events, "KEPT", 20)
    monkeypatch.setattr(events, "_ROUND", 10)
    with Journal(tmp_path / "journal.db") as journal:
        journal._database._connection.execute("PRAGMA synchronous=OFF")
        most = 0
        for _ in range(100):
            journal.events.add("e")
            most = max(most, len(journal.events.after()))
        assert (most, journal.events.last()) == (29, 100)


@pytest.mark.parametrize("damage", ["body = x'7b'", "body = '[]'", "time = 'long ago'"])
def test_a_damaged_row_keeps_nobody_from_the_next(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stands there as one that cannot be read, with its number, and the log says which."""
    with Journal(tmp_path / "journal.db") as journal:
        for _ in range(3):
            journal.events.add("e", "m", {"a": 1})
        journal._database.write(f"UPDATE events SET {damage} WHERE id = 2")  # noqa: S608
        found = journal.events.after()
        assert [(event.id, event.kind) for event in found] == [(1, "e"), (2, "unreadable"), (3, "e")]
        assert found[1].body == {}
    assert "event 2 of the journal cannot be read" in caplog.text
