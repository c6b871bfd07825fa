"""The journal as a whole: terms, commits of several things, and what a killed process leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from changeover.errors import Internal
from changeover.records.journal import Journal

_WRITER = """
import sys
from pathlib import Path
from changeover.records.journal import Journal
from changeover.transport.control import RoutingTable, encode
journal = Journal(Path(sys.argv[1]))
while True:
    term = journal.next_term()
    [epoch] = journal.epochs.allocate("m")
    table = encode(RoutingTable("m", 1, epoch, [], [], active=1)).ljust(5000)
    journal.epochs.intend("m", epoch, table, term=term)
    journal.epochs.commit("m", epoch)
    with journal.together():
        journal.events.add("first", "m", {"epoch": epoch})
        journal.events.add("second", "m", {"epoch": epoch})
    print(term, epoch, flush=True)
"""


def _killed_writer(path: Path, rounds: int) -> tuple[int, int]:
    """Run a writer, kill it by SIGKILL after so many rounds; the last (term, epoch) it told us of."""
    child = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = (0, 0)
    with child.stdout:
        for _ in range(rounds):
            term, epoch = child.stdout.readline().split()
            told = (int(term), int(epoch))
        os.kill(child.pid, signal.SIGKILL)
        for line in child.stdout:
            if line.endswith("\n"):
                told = (int(line.split()[0]), int(line.split()[1]))
    child.wait()
    return told


def _write_and_fail(journal: Journal) -> None:
    with journal.together():
        journal.events.add("one")
        journal.versions.add("m", 1, "d" * 64, "push")
        raise ZeroDivisionError


def _write_and_hide_a_failure(journal: Journal) -> None:
    with journal.together():
        journal.events.add("one")
        with pytest.raises(Internal, match="never intended"):
            journal.epochs.commit("m", 1)


def test_terms_rise_and_outlive_the_process(tmp_path: Path) -> None:
    """Each opening takes a higher term than any before."""
    terms = []
    for _ in range(3):
        with Journal(tmp_path / "journal.db") as journal:
            terms.append(journal.next_term())
    assert terms == [1, 2, 3]


def test_together_is_all_or_nothing(tmp_path: Path) -> None:
    """An error inside `together` leaves nothing of what was written in it."""
    with Journal(tmp_path / "journal.db") as journal:
        with pytest.raises(ZeroDivisionError):
            _write_and_fail(journal)
        assert journal.events.after() == []
        assert journal.versions.models() == []
        with journal.together():
            journal.events.add("one")
            journal.versions.add("m", 1, "d" * 64, "push")
        assert [event.kind for event in journal.events.after()] == ["one"]


def test_an_error_swallowed_inside_together_still_undoes_it(tmp_path: Path) -> None:
    """A failure inside cannot be hidden: the outer block raises and nothing is kept."""
    with Journal(tmp_path / "journal.db") as journal:
        with pytest.raises(Internal) as caught:
            _write_and_hide_a_failure(journal)
        assert caught.value.reason == "journal_defect"
        assert journal.events.after() == []
        journal.events.add("two")
        assert [event.kind for event in journal.events.after()] == ["two"]


@pytest.mark.parametrize("rounds", [1, 7, 40])
def test_a_killed_writer_loses_nothing_it_was_told(tmp_path: Path, rounds: int) -> None:
    """After `kill -9` in full writing, all that was acknowledged is there, and no number comes twice."""
    path = tmp_path / "journal.db"
    term, epoch = _killed_writer(path, rounds)
    with Journal(path) as journal:
        decided = journal.epochs.committed("m")
        assert decided is not None
        assert decided.epoch >= epoch
        assert len(decided.table) == 5000
        assert len(journal.epochs.intents("m")) <= 1
        assert journal.next_term() > term
        assert journal.epochs.allocate("m")[0] > decided.epoch
        kinds = [event.kind for event in journal.events.after(limit=10_000)]
        assert kinds == ["first", "second"] * (len(kinds) // 2)
        assert len(kinds) >= 2 * epoch


def test_killed_again_and_again_it_goes_on(tmp_path: Path) -> None:
    """Five kills in a row: terms and epochs only rise."""
    path = tmp_path / "journal.db"
    last = (0, 0)
    for rounds in (3, 1, 5, 2, 4):
        told = _killed_writer(path, rounds)
        assert told[0] > last[0]
        assert told[1] > last[1]
        last = told


def test_repr_names_the_file(tmp_path: Path) -> None:
    """An operator sees which file is meant."""
    with Journal(tmp_path / "journal.db") as journal:
        assert repr(journal) == f"<Journal {tmp_path}/journal.db>"
