"""The connection: what it refuses to open, full and failing disks, one process at a time."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from changeover.errors import Internal
from changeover.records.database import Database
from changeover.records.schema import MIGRATIONS
from tests.small_disk import small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "512k") as folder:
        yield folder


def _reason(path: Path) -> str:
    with pytest.raises(Internal) as caught:
        Database(path)
    assert str(path) in caught.value.message
    return caught.value.reason


def _event(database: Database, size: int) -> None:
    database.write("INSERT INTO events (time, kind, body) VALUES ('t', 'k', ?)", (b"x" * size,))


def _fill(database: Database) -> tuple[int, str]:
    """Write until it is refused; how many rows that were, and the reason."""
    for written in range(200):
        try:
            _event(database, 4000)
        except Internal as error:
            return written, error.reason
    raise AssertionError("800 KB went onto a smaller disk")


def test_settings_are_the_durable_ones(tmp_path: Path) -> None:
    """WAL, full synchronisation, exclusive lock, current format."""
    database = Database(tmp_path / "journal.db")
    found = {
        name: database.read(f"PRAGMA {name}")[0][0]
        for name in ("journal_mode", "synchronous", "locking_mode", "user_version", "foreign_keys")
    }
    database.close()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "locking_mode": "exclusive",
        "user_version": len(MIGRATIONS),
        "foreign_keys": 1,
    }


def test_text_is_refused(tmp_path: Path) -> None:
    """A file that is no SQLite file is left untouched and named."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"these are my notes, not a database\n" * 40)
    assert _reason(path) == "journal_corrupt"
    assert path.read_bytes().startswith(b"these are my notes")


def test_a_foreign_database_is_refused_and_left_untouched(tmp_path: Path) -> None:
    """An SQLite file of another program is not taken over."""
    path = tmp_path / "journal.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    before = path.read_bytes()
    assert _reason(path) == "journal_corrupt"
    assert path.read_bytes() == before


def test_overwritten_pages_are_found_on_opening(tmp_path: Path) -> None:
    """Garbage in the middle of the file is noticed before anything is decided by it."""
    path = tmp_path / "journal.db"
    database = Database(path)
    for _ in range(50):
        _event(database, 3000)
    database.close()
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 12))
    assert _reason(path) == "journal_corrupt"


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A journal of a later release is not touched."""
    path = tmp_path / "journal.db"
    database = Database(path)
    database.write("PRAGMA user_version=99")
    database.close()
    assert _reason(path) == "journal_too_new"


def test_a_missing_folder_is_unwritable(tmp_path: Path) -> None:
    """The error says that the place cannot be written."""
    assert _reason(tmp_path / "absent" / "journal.db") == "journal_unwritable"


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """While one process has the journal no other can open it, even to read; afterwards one can."""
    path = tmp_path / "journal.db"
    database = Database(path)
    code = (
        "import sys; from pathlib import Path; from changeover.records.database import Database\n"
        "from changeover.errors import Internal\n"
        "try: Database(Path(sys.argv[1]))\n"
        "except Internal as error: print(error.reason)\n"
        "else: print('opened')\n"
    )

    def outcome() -> str:
        run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    assert outcome() == "journal_in_use"
    _event(database, 10)
    assert outcome() == "journal_in_use"
    database.close()
    assert outcome() == "opened"


def test_a_full_disk_is_said_and_survived(disk: Path) -> None:
    """Writing to a full disk raises `journal_unwritable`; what was committed stays; room made, it goes on."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * 300 * 1024)
    database = Database(disk / "journal.db")
    written, reason = _fill(database)
    assert reason == "journal_unwritable"
    assert written > 0
    assert database.read("SELECT count(*) FROM events") == [(written,)]
    ballast.unlink()
    _event(database, 4000)
    assert database.read("SELECT count(*) FROM events") == [(written + 1,)]
    database.close()
    database = Database(disk / "journal.db")
    assert database.read("SELECT count(*) FROM events") == [(written + 1,)]
    database.close()


def test_a_full_disk_on_opening_is_said(disk: Path) -> None:
    """A new journal on a full disk fails with the same reason."""
    with pytest.raises(OSError, match="No space"):
        (disk / "ballast").write_bytes(b"\0" * 2**20)
    assert _reason(disk / "journal.db") == "journal_unwritable"


def test_a_refused_write_is_unwritable(tmp_path: Path) -> None:
    """A write that the system refuses (here by a limit on file size) has the same reason."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from changeover.records.database import Database; from changeover.errors import Internal\n"
        "database = Database(Path(sys.argv[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))\n"
        "try:\n"
        "    for _ in range(100): database.write(\"INSERT INTO events (time, kind, body) VALUES ('', '', ?)\","
        " (b'x' * 5000,))\n"
        "except Internal as error: print(error.reason)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "journal.db")], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "journal_unwritable"


def test_threads_take_turns(tmp_path: Path) -> None:
    """Many threads write at once and every row arrives."""
    database = Database(tmp_path / "journal.db")

    def pair(_: int) -> None:
        with database.transaction():
            _event(database, 10)
            _event(database, 20)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pair, range(100)))
    assert database.read("SELECT count(*) FROM events") == [(200,)]
    database.close()


def test_use_after_close_is_our_error(tmp_path: Path) -> None:
    """A closed journal raises an error of this project."""
    database = Database(tmp_path / "journal.db")
    database.close()
    database.close()
    with pytest.raises(Internal):
        database.read("SELECT 1")
