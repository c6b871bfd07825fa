"""Loadings: how far each attempt came, why it failed, and what a restart makes of those under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.errors import NotFound
from changeover.records import loadings
from changeover.records.journal import Journal

A = "a" * 64


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def test_a_loading_is_followed(journal: Journal) -> None:
    """States and measured numbers add up, the failure keeps its reason."""
    loading = journal.loadings.open("m", 4, A, "options")
    assert journal.loadings.get(loading).state == "new"
    journal.loadings.move(loading, "loading", measured={"load_seconds": 1.5})
    journal.loadings.move(loading, "failed", failure=("out_of_memory", "needs 3 GiB"), measured={"peak_bytes": 7})
    found = journal.loadings.get(loading)
    assert (found.state, found.reason, found.detail) == ("failed", "out_of_memory", "needs 3 GiB")
    assert found.measured == {"load_seconds": 1.5, "peak_bytes": 7}
    assert found.created <= found.updated
    assert repr(found) == f"<Loading {loading} m/4@aaaa failed (out_of_memory)>"


def test_the_newest_come_first(journal: Journal) -> None:
    """Of one model, up to a limit; ids are not reused."""
    numbers = [journal.loadings.open("m", version, A, "o") for version in (1, 2, 3)]
    journal.loadings.open("other", 1, A, "o")
    assert [found.id for found in journal.loadings.of("m", limit=2)] == [numbers[2], numbers[1]]


def test_an_unknown_loading_is_not_found(journal: Journal) -> None:
    """Neither read nor moved."""
    with pytest.raises(NotFound):
        journal.loadings.get(99)
    with pytest.raises(NotFound):
        journal.loadings.move(99, "ready")


def test_only_the_newest_are_kept(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that still serves, however old it is; other models have their own."""
    monkeypatch.setattr(loadings, "KEPT", 4)
    serving, other = journal.loadings.open("m", 1, A, "options"), journal.loadings.open("other", 1, A, "options")
    journal.loadings.move(serving, "ready")
    journal.loadings.move(other, "failed")
    opened = []
    for state in ("released", "failed") * 5:
        opened.append(journal.loadings.open("m", 2, A, "options"))
        journal.loadings.move(opened[-1], state)
    assert [record.id for record in journal.loadings.of("m")] == [*reversed(opened[-4:]), serving]
    assert [record.id for record in journal.loadings.of("other")] == [other]


def test_each_state_is_an_event(journal: Journal) -> None:
    """With the version's number and digest, and why it failed."""
    loading = journal.loadings.open("m", 4, A, "options")
    journal.loadings.move(loading, "failed", failure=("out_of_memory", "needs 3 GiB"))
    new, failed = journal.events.after()
    assert (new.kind, new.model, new.body["state"]) == ("version", "m", "new")
    assert failed.body == {
        "version": "4", "digest": A, "loading": loading, "state": "failed",
        "reason": "out_of_memory", "detail": "needs 3 GiB",
    }  # fmt: skip
