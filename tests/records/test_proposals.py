"""Proposals on record: what is known of a model, and each change as an event in the same commit."""

from __future__ import annotations

from pathlib import Path

from changeover.records.journal import Journal


def test_what_is_known_is_kept(tmp_path: Path) -> None:
    """The last of it, over a restart; an event only where there is one to tell."""
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.proposals.known("m") is None
        journal.proposals.record("m", b"1")
        journal.proposals.record("m", b"2", {"state": "proposed"})
        journal.proposals.record("n", b"3")
    with Journal(tmp_path / "journal.db") as journal:
        assert (journal.proposals.known("m"), journal.proposals.known("n")) == (b"2", b"3")
        assert [(e.kind, e.model, e.body) for e in journal.events.after()] == [("proposal", "m", {"state": "proposed"})]
