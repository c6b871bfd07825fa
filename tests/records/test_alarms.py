"""Alarms on record: those that fire, each change as an event, and how far the webhook has come."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.records.journal import Journal


def test_what_fires_is_kept_until_it_is_resolved(tmp_path: Path) -> None:
    """Over a restart too; each change is an event in the same commit."""
    firing = {"alert": "errors", "state": "firing", "n": 1}
    with Journal(tmp_path / "journal.db") as journal:
        journal.alarms.record("errors/m/4", "m", firing)
        journal.alarms.record("memory", None, {"alert": "memory", "state": "firing"})
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.alarms.firing() == [("m", firing), (None, {"alert": "memory", "state": "firing"})]
        journal.alarms.record("errors/m/4", "m", firing | {"state": "resolved"})
        assert [body["alert"] for _, body in journal.alarms.firing()] == ["memory"]
        assert [(e.kind, e.model, e.body["state"]) for e in journal.events.after()] == [
            ("alert", "m", "firing"),
            ("alert", None, "firing"),
            ("alert", "m", "resolved"),
        ]


def test_how_far_the_webhook_has_come(tmp_path: Path) -> None:
    """Nowhere before the first word."""
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.alarms.told is None
        journal.alarms.tell(7)
        journal.alarms.tell(9)
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.alarms.told == 9


def test_a_damaged_alarm_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The others are known all the same."""
    with Journal(tmp_path / "journal.db") as journal:
        for key in ("a", "b"):
            journal.alarms.record(key, "m", {"state": "firing", "key": key})
        journal._database.write("UPDATE alarms SET body = x'7b' WHERE key = 'a'")
        assert journal.alarms.firing() == [("m", {"state": "firing", "key": "b"})]
    assert "the alarm a on record cannot be read" in caplog.text
