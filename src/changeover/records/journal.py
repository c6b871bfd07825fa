"""The journal: every decision of the control plane, on disk before it acts (design, section 5 and 6).

One SQLite file, one connection, one writer (`database.py` says why and what a commit costs). The rooms, by
noun:

- `versions`: models, and which bytes a version number stood for
- `loadings`: attempts to bring a version up
- `epochs`: routing tables, intended and decided
- `rollouts`: phases and certificates
- `events`: what happened, in order
- `alarms`: those that fire
- `proposals`: what a model was tuned for, and what was proposed since

Every method is synchronous and durable when it returns; it takes a fraction of a millisecond on a healthy
disk and may block for long on a sick one, so the caller chooses the thread. All writing methods raise
`Internal` with reason `journal_unwritable` when the disk is full or failing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec

from changeover.errors import ChangeoverError, Internal
from changeover.records.alarms import AlarmRecords
from changeover.records.database import Database, corrupt
from changeover.records.epochs import Epochs
from changeover.records.events import Events
from changeover.records.loadings import Loadings
from changeover.records.mark import Mark
from changeover.records.proposals import Proposals
from changeover.records.rollouts import Rollouts
from changeover.records.versions import Versions
from changeover.transport.control import RoutingTable

_DECIDES: Final = ("counters", "models", "versions", "loadings", "epochs", "rollouts")


class Journal:
    """An open journal.

    Attributes:
        versions: models and versions.
        loadings: attempts to bring a version up.
        epochs: routing tables, intended and decided.
        rollouts: phases and certificates.
        events: what happened.
        alarms: those that fire.
        proposals: what a model was tuned for.
    """

    def __init__(self, path: Path) -> None:
        """Open the journal, or make a new one.

        Args:
            path: of the file; its folder must exist.

        Raises:
            Internal: `journal_corrupt`, `journal_forgetful` (it has lost decisions), `journal_too_new`,
                `journal_in_use`, `journal_unwritable`.
        """
        mark = Mark(path.with_name(path.name + "-mark"))
        self._database = Database(path)
        self.versions = Versions(self._database)
        self.events = Events(self._database)
        self.loadings = Loadings(self._database, self.events)
        self.epochs = Epochs(self._database, mark)
        self.rollouts = Rollouts(self._database, self.events)
        self.alarms = AlarmRecords(self._database, self.events)
        self.proposals = Proposals(self._database, self.events)
        try:
            self._require_whole(mark)
        except ChangeoverError:
            self.close()
            raise

    def _require_whole(self, mark: Mark) -> None:
        """Nothing that was decided is missing, and what a next controller goes by can be read.

        What only tells of the past, `events` and `alarms`, is passed over row by row where it is damaged.
        """
        self._database.require_types(_DECIDES)
        known, told = self.epochs.decisions(), mark.read()
        if known < told:
            raise Internal(
                f"The journal {self._database.path} has lost decisions: it knows {known}, and {mark.path.name} counts "
                f"{told}; a damaged or missing -wal file does that. Put back all three files from one copy, or remove "
                f"{mark.path} to accept what the journal still knows.",
                reason="journal_forgetful",
            )
        try:
            for model in self.versions.models():
                decided = self.epochs.committed(model)
                if decided is not None:
                    table = msgspec.json.decode(decided.table, type=RoutingTable)
                    if (table.model, table.epoch) != (model, decided.epoch):
                        raise corrupt(self._database.path, f"epoch {decided.epoch} of {model} has another's table")
                self.loadings.of(model)
            self.rollouts.unfinished()
        except msgspec.MsgspecError as error:
            raise corrupt(self._database.path, f"a record cannot be read: {error}") from error

    def next_term(self) -> int:
        """Take the next term: 1 for the first controller, one more for each that follows, never reused."""
        with self._database.transaction():
            self._database.write("INSERT OR IGNORE INTO counters (name, value) VALUES ('term', 0)")
            self._database.write("UPDATE counters SET value = value + 1 WHERE name = 'term'")
            return int(self._database.read("SELECT value FROM counters WHERE name = 'term'")[0][0])

    def together(self) -> AbstractContextManager[None]:
        """Make what is written inside one commit: all of it or nothing, at the price of one `fsync`.

        Other threads wait meanwhile, so nothing slow belongs inside.
        """
        return self._database.transaction()

    def close(self) -> None:
        """Close the file. Calling it twice is allowed."""
        self._database.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Journal {self._database.path}>"
