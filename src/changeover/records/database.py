"""The one SQLite connection behind the journal: opening, transactions, and errors in our own words.

Journal mode: WAL with `locking_mode=EXCLUSIVE`. The SQLite that Python brings (3.40) has the WAL-reset
defect, which needs two connections that write or checkpoint at the same instant; the exclusive lock makes a
second connection, of any process, impossible, and a second controller on the same state folder fails at once.
Measured with 4 KB rows and `synchronous=FULL` on an ext4 disk whose bare `fsync` takes 0.22 ms: WAL p50 0.17
ms, p99 0.33 ms a commit; DELETE 0.66 / 0.86 ms, TRUNCATE 0.72 / 3.96 ms, PERSIST 0.83 / 2.65 ms.

The lock is a POSIX one: opening and closing the file elsewhere *in this process* would drop it, so nobody
does. When the process is killed the system drops the lock, and the next open replays what was committed.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from changeover.errors import Internal
from changeover.records.schema import APPLICATION_ID, MIGRATIONS

T = TypeVar("T")
_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_UNWRITABLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }
)

_CACHE_KIB: Final = 256
"""Of pages that are kept in memory: a change writes few, and what people ask for is in the system's cache."""
_NO_TEXT: Final = "Could not decode to UTF-8"
"""What the sqlite3 module says of a text whose bytes are none; it gives no code."""


class Database:
    """One open journal file. Synchronous; may be called from any thread, one at a time by its own lock."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and bring its tables up to date.

        Raises:
            Internal: `journal_corrupt` (damaged, or no journal of ours), `journal_too_new`, `journal_in_use`
                (another process has it), `journal_unwritable` (folder missing, no permission, disk full).
        """
        self.path = path
        _require_files(path)
        self._lock = threading.RLock()
        self._depth = 0
        self._doomed = False
        with self._translated():
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    @property
    def writing(self) -> bool:
        """Whether a transaction is under way, so that what is read may not be committed yet."""
        return self._depth > 0

    def close(self) -> None:
        """Close the file; calling it twice is allowed, any other use afterwards is an error."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is committed at the end, durably, or not at all.

        Inside another transaction of the same thread it joins that one.

        Raises:
            Internal: `journal_unwritable` when the disk is full or a write or `fsync` failed; nothing of the
                transaction is kept then, and a later one may succeed.
        """
        with self._lock, self._translated():
            self._begin()
            try:
                yield
            except BaseException:
                self._abandon()
                raise
            else:
                self._finish()
            finally:
                self._depth -= 1

    def write(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one writing statement in a transaction; the number of rows it changed."""
        with self.transaction():
            return self._connection.execute(sql, values).rowcount

    def insert(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one INSERT in a transaction; the new row's id."""
        with self.transaction():
            return self._connection.execute(sql, values).lastrowid or 0

    def read(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as last committed or as written so far in this thread's transaction."""
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    def read_as(self, make: Callable[[tuple[Any, ...]], T], sql: str, values: Sequence[object] = ()) -> list[T]:
        """The same as records.

        Raises:
            Internal: `journal_corrupt`: a row holds what no journal of ours holds.
        """
        rows = self.read(sql, values)
        try:
            return [make(row) for row in rows]
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise corrupt(self.path, f"a record cannot be read: {error}") from error

    def require_types(self, tables: Sequence[str]) -> None:
        """Every value is of the type that its column declares.

        A damaged page may still be sound for SQLite, and hold a text where a number is due.

        Raises:
            Internal: `journal_corrupt`.
        """
        for table in tables:
            columns = self.read(f"PRAGMA table_info({table})")
            odd = [
                f"typeof({name}) NOT IN ('{declared.lower()}'{'' if required else ', ' + repr('null')})"
                for _, name, declared, required, *_ in columns
            ]
            if self.read(f"SELECT 1 FROM {table} WHERE {' OR '.join(odd)} LIMIT 1"):  # noqa: S608 - our own names
                raise corrupt(self.path, f"a value in its table {table} is of another type than any that we write")

    def _begin(self) -> None:
        if self._depth == 0:
            self._doomed = False
            self._connection.execute("BEGIN IMMEDIATE")
        elif self._doomed:
            raise sqlite3.OperationalError("an earlier write of this transaction failed")
        self._depth += 1

    def _finish(self) -> None:
        if self._depth > 1:
            return
        if self._doomed:
            raise sqlite3.OperationalError("an earlier write of this transaction failed")
        try:
            self._connection.execute("COMMIT")
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        # An inner failure undoes the whole transaction, also when its caller swallows the error; SQLite has
        # rolled back by itself after a full disk.
        self._doomed = True
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        self._recognise()
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        execute("PRAGMA foreign_keys=ON")
        found = execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise corrupt(self.path, f"SQLite says: {' '.join(found.split())}")
        self._migrate()

    def _recognise(self) -> None:
        # Read before anything is written: a foreign file stays untouched.
        execute = self._connection.execute
        tables = execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise corrupt(self.path, "it is an SQLite file of another program")

    def _migrate(self) -> None:
        applied = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if applied > len(MIGRATIONS):
            raise Internal(
                f"The journal {self.path} was written by a newer changeover (format {applied}, this one "
                f"knows "
                f"{len(MIGRATIONS)}): start that version, or name another --state-dir.",
                reason="journal_too_new",
            )
        for step, statements in enumerate(MIGRATIONS[applied:], start=applied + 1):
            with self.transaction():
                for statement in statements:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version={step}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._in_our_words(error) from error

    def _in_our_words(self, error: sqlite3.Error) -> Internal:
        code = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
        if code in _CORRUPT or str(error).startswith(_NO_TEXT):
            return corrupt(self.path, f"SQLite says: {error}")
        if code in _BUSY:
            return Internal(
                f"The journal {self.path} is in use by another process: one server per --state-dir.",
                reason="journal_in_use",
            )
        if code in _UNWRITABLE:
            return Internal(
                f"The journal {self.path} cannot be written ({error}): free disk space or mend the "
                f"permissions of "
                "its folder; nothing was recorded.",
                reason="journal_unwritable",
            )
        return Internal(f"The journal {self.path} refused a statement: {error}.", reason="journal_defect")


def corrupt(path: Path, why: str) -> Internal:
    """The error for a journal that says what none of ours says (reason `journal_corrupt`)."""
    return Internal(
        f"{path} is not a sound journal ({why}). Move it aside, with its -wal and -mark files, and put back a copy, or "
        "start without it: the repository's versions are then rolled out anew.",
        reason="journal_corrupt",
    )


def _require_files(path: Path) -> None:
    """A folder or device in the place of one of the files is told by its name."""
    for name in (path, path.with_name(path.name + "-wal")):
        if name.exists() and not name.is_file():
            raise corrupt(path, f"{name.name} is no file")
