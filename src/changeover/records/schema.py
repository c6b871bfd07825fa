"""The journal's tables, as numbered steps: `PRAGMA user_version` says how many were applied.

A step is never edited after a release; a change of the tables is a new step at the end.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x43484F56
"""`CHOV`, in the header of the file: tells a journal from any other SQLite file."""

_FIRST: Final = (
    """CREATE TABLE counters (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE models (
        name TEXT PRIMARY KEY,
        next_epoch INTEGER NOT NULL DEFAULT 1,
        created TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE versions (
        model TEXT NOT NULL REFERENCES models (name),
        version INTEGER NOT NULL CHECK (version > 0),
        digest TEXT NOT NULL,
        source TEXT NOT NULL,
        created TEXT NOT NULL,
        PRIMARY KEY (model, version, digest)
    ) WITHOUT ROWID""",
    """CREATE TABLE loadings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        digest TEXT NOT NULL,
        options TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        detail TEXT,
        measured BLOB NOT NULL,
        created TEXT NOT NULL,
        updated TEXT NOT NULL
    )""",
    "CREATE INDEX loadings_by_model ON loadings (model, id)",
    """CREATE TABLE epochs (
        model TEXT NOT NULL REFERENCES models (name),
        epoch INTEGER NOT NULL CHECK (epoch > 0),
        term INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('intended', 'committed', 'owed')),
        routes BLOB NOT NULL,
        intended TEXT NOT NULL,
        committed TEXT,
        stored TEXT,
        PRIMARY KEY (model, epoch)
    ) WITHOUT ROWID""",
    """CREATE TABLE rollouts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        from_version INTEGER,
        from_digest TEXT,
        to_version INTEGER NOT NULL,
        to_digest TEXT NOT NULL,
        phase TEXT NOT NULL,
        record BLOB NOT NULL,
        certificate BLOB,
        started TEXT NOT NULL,
        updated TEXT NOT NULL,
        ended TEXT
    )""",
    "CREATE INDEX rollouts_by_model ON rollouts (model, id)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time TEXT NOT NULL,
        kind TEXT NOT NULL,
        model TEXT,
        body BLOB NOT NULL
    )""",
)

_ALARMS: Final = (
    """CREATE TABLE alarms (
        key TEXT PRIMARY KEY,
        model TEXT,
        body BLOB NOT NULL
    ) WITHOUT ROWID""",
)

_ADAPTIVE: Final = (
    """CREATE TABLE adaptive (
        model TEXT PRIMARY KEY,
        body BLOB NOT NULL
    ) WITHOUT ROWID""",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _ALARMS, _ADAPTIVE)
"""Step i leads from `user_version` i to i + 1."""
