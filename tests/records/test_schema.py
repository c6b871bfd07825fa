"""The journal's tables: each step leads from the one before, and released steps stay as they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from changeover.records.journal import Journal
from changeover.records.schema import APPLICATION_ID, MIGRATIONS


def test_every_step_applies_after_the_last() -> None:
    """From an empty file, one after the other."""
    connection = sqlite3.connect(":memory:")
    for statements in MIGRATIONS:
        for statement in statements:
            connection.execute(statement)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert tables >= {"counters", "models", "versions", "loadings", "epochs", "rollouts", "events"}


def test_a_journal_of_the_first_format_is_brought_up_to_date(tmp_path: Path) -> None:
    """What an earlier release wrote is kept."""
    path = tmp_path / "journal.db"
    connection = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute("INSERT INTO counters VALUES ('term', 41)")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()
    with Journal(path) as journal:
        assert journal.next_term() == 42
