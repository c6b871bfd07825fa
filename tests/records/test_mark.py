"""The mark: never more than the journal holds, and of no harm when it is damaged or cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.errors import Internal
from changeover.records.journal import Journal
from changeover.records.mark import Mark
from changeover.transport.control import RoutingTable, encode
from tests.small_disk import small_disk


def decide(journal: Journal) -> None:
    [epoch] = journal.epochs.allocate("m")
    journal.epochs.intend("m", epoch, encode(RoutingTable("m", 1, epoch, [], [], active=1)), term=1)
    journal.epochs.commit("m", epoch)


def test_it_counts_decisions(tmp_path: Path) -> None:
    """Also one that was owed, and each once."""
    mark = Mark(tmp_path / "journal.db-mark")
    assert mark.read() == 0
    with Journal(tmp_path / "journal.db") as journal:
        for count in (1, 2, 3):
            decide(journal)
            assert mark.read() == journal.epochs.decisions() == count
        owed = encode(RoutingTable("m", 1, 9, [], [], active=1))
        journal.epochs.record_owed("m", 9, owed, term=1)
        journal.epochs.record_owed("m", 9, owed, term=1)
        journal.epochs.commit("m", 9)
        assert mark.read() == 4


def test_it_never_counts_what_may_be_undone(tmp_path: Path) -> None:
    """A decision inside a larger commit is marked with the next one."""
    mark = Mark(tmp_path / "journal.db-mark")
    with Journal(tmp_path / "journal.db") as journal:
        with journal.together():
            decide(journal)
            assert mark.read() == 0
        decide(journal)
        assert mark.read() == 2


@pytest.mark.parametrize("garbage", [b"", b"1", b"x" * 21, b"-0000000000000000001\n", b"\xff" * 21])
def test_garbage_counts_nothing(tmp_path: Path, garbage: bytes) -> None:
    """As if there was no mark."""
    mark = Mark(tmp_path / "mark")
    mark.path.write_bytes(garbage)
    assert mark.read() == 0


def test_a_journal_that_knows_less_is_not_opened(tmp_path: Path) -> None:
    """An old copy was put back, say."""
    with Journal(tmp_path / "journal.db") as journal:
        decide(journal)
    Mark(tmp_path / "journal.db-mark").write(2)
    with pytest.raises(Internal) as refused:
        Journal(tmp_path / "journal.db")
    assert refused.value.reason == "journal_forgetful"
    Mark(tmp_path / "journal.db-mark").write(1)
    Journal(tmp_path / "journal.db").close()


def test_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    """Nothing is raised, and what was there stays readable."""
    with small_disk(tmp_path / "small", "16k") as disk:
        (disk / "filler").write_bytes(b"x" * 8192)
        mark = Mark(disk / "mark")
        mark.write(7)
        mark.write(8)
        assert mark.read() in (0, 8)
        Mark(disk / "missing" / "mark").write(1)
