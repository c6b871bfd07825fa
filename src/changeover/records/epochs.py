"""The journal's epochs: which routing table was meant, which was decided, and which numbers are used up.

Order of a switch (design, section 5): `allocate` → `intend` → prepare the gateways → `commit` → store in the
route page. A move towards the active version may be stored first when the journal cannot be written; its
record is then paid later by `record_owed`. After a restart: `committed` is what must serve, `intents` are to
be discarded.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Final

from changeover.clock import utc_now
from changeover.errors import Internal
from changeover.records.database import Database
from changeover.records.mark import Mark
from changeover.records.versions import add_model

_KEPT: Final = 32
"""Decided tables kept for each model; older rows only had history to tell, which the events tell too."""

_COLUMNS = "model, epoch, term, state, routes, intended, committed"


class EpochState(enum.StrEnum):
    """How sure an epoch is.

    `INTENDED`: gateways may be preparing it, none may serve it. `COMMITTED`: decided before it was stored.
    `OWED`: stored first, recorded later; counts as committed.
    """

    INTENDED = "intended"
    COMMITTED = "committed"
    OWED = "owed"


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of one model.

    Attributes:
        term: of the controller that intended it.
        table: the routing table's bytes.
        intended: time of the intention; `committed` of the decision, or `None`.
    """

    model: str
    epoch: int
    term: int
    state: EpochState
    table: bytes = field(repr=False)
    intended: str
    committed: str | None


class Epochs:
    """Rows of `epochs`, and each model's next number."""

    def __init__(self, database: Database, mark: Mark) -> None:
        self._database = database
        self._mark = mark

    def allocate(self, model: str, count: int = 1) -> list[int]:
        """Take the next numbers of a model, rising by one: used up once this returns, whatever follows."""
        with self._database.transaction():
            add_model(self._database, model)
            rows = self._database.read("SELECT next_epoch FROM models WHERE name = ?", (model,))
            first = int(rows[0][0])
            self._database.write("UPDATE models SET next_epoch = ? WHERE name = ?", (first + count, model))
        return list(range(first, first + count))

    def intend(self, model: str, epoch: int, table: bytes, *, term: int) -> None:
        """Record the table of an allocated epoch, before any gateway hears of it.

        Raises:
            Internal: `epoch_reused` (this epoch has a table already), `epoch_not_allocated`.
        """
        with self._database.transaction():
            self._require_allocated(model, epoch)
            if self.get(model, epoch) is not None:
                raise Internal(f"Epoch {epoch} of {model} has a table already.", reason="epoch_reused")
            self._insert(model, epoch, table, term=term)

    def commit(self, model: str, epoch: int) -> None:
        """Decide for an intended epoch, before it is stored in the page. Committing it again changes nothing.

        Intentions with lower numbers are discarded: the page only moves upwards.

        Raises:
            Internal: `epoch_not_intended`, or `epoch_in_past` when a higher one is decided already.
        """
        self._decide(model, epoch, EpochState.COMMITTED)
        self._note()

    def record_owed(self, model: str, epoch: int, table: bytes, *, term: int) -> None:
        """Record an epoch that the page holds already: its decision was owed. Needs no earlier intention.

        Raises:
            Internal: `epoch_in_past` when a higher one is decided already.
        """
        with self._database.transaction():
            add_model(self._database, model)
            self._database.write("UPDATE models SET next_epoch = max(next_epoch, ?) WHERE name = ?", (epoch + 1, model))
            if self.get(model, epoch) is None:
                self._insert(model, epoch, table, term=term)
            self._decide(model, epoch, EpochState.OWED)
        self._note()

    def _note(self) -> None:
        """Mark what is committed, never what may yet be undone."""
        if not self._database.writing:
            self._mark.write(self.decisions())

    def decisions(self) -> int:
        """Decisions ever recorded, of all models."""
        rows = self._database.read("SELECT value FROM counters WHERE name = 'decisions'")
        return int(rows[0][0]) if rows else 0

    def committed(self, model: str) -> EpochRecord | None:
        """The highest decided epoch: the table that must serve after a restart. `None` before the first."""
        rows = self._database.read_as(
            _record,
            f"SELECT {_COLUMNS} FROM epochs WHERE model = ? AND state != 'intended' "  # noqa: S608
            "ORDER BY epoch DESC LIMIT 1",
            (model,),
        )
        return rows[0] if rows else None

    def intents(self, model: str) -> list[EpochRecord]:
        """Epochs that were intended and never decided, by number."""
        return self._database.read_as(
            _record,
            f"SELECT {_COLUMNS} FROM epochs WHERE model = ? AND state = 'intended' ORDER BY epoch",  # noqa: S608
            (model,),
        )

    def discard_intents(self, model: str) -> int:
        """Drop them; how many there were. Their numbers stay used up."""
        return self._database.write("DELETE FROM epochs WHERE model = ? AND state = 'intended'", (model,))

    def get(self, model: str, epoch: int) -> EpochRecord | None:
        """One epoch, or `None` when it has no table, or its row was dropped."""
        rows = self._database.read_as(
            _record,
            f"SELECT {_COLUMNS} FROM epochs WHERE model = ? AND epoch = ?",  # noqa: S608
            (model, epoch),
        )
        return rows[0] if rows else None

    def _insert(self, model: str, epoch: int, table: bytes, *, term: int) -> None:
        self._database.insert(
            "INSERT INTO epochs (model, epoch, term, state, routes, intended) VALUES (?, ?, ?, 'intended', ?, ?)",
            (model, epoch, term, table, utc_now()),
        )

    def _decide(self, model: str, epoch: int, state: EpochState) -> None:
        with self._database.transaction():
            last = self.committed(model)
            if last is not None and last.epoch == epoch:
                return
            if last is not None and last.epoch > epoch:
                raise Internal(
                    f"Epoch {epoch} of {model} cannot be decided: {last.epoch} is already.",
                    reason="epoch_in_past",
                )
            changed = self._database.write(
                "UPDATE epochs SET state = ?, committed = ? WHERE model = ? AND epoch = ?",
                (state.value, utc_now(), model, epoch),
            )
            if not changed:
                raise Internal(f"Epoch {epoch} of {model} was never intended.", reason="epoch_not_intended")
            self._database.write("INSERT OR IGNORE INTO counters (name, value) VALUES ('decisions', 0)")
            self._database.write("UPDATE counters SET value = value + 1 WHERE name = 'decisions'")
            self._prune(model, epoch)

    def _prune(self, model: str, epoch: int) -> None:
        self._database.write("DELETE FROM epochs WHERE model = ? AND epoch < ? AND state = 'intended'", (model, epoch))
        self._database.write(
            "DELETE FROM epochs WHERE model = ? AND state != 'intended' AND epoch <= "
            "(SELECT epoch FROM epochs WHERE model = ? AND state != 'intended' ORDER BY epoch DESC LIMIT 1 OFFSET ?)",
            (model, model, _KEPT),
        )

    def _require_allocated(self, model: str, epoch: int) -> None:
        rows = self._database.read("SELECT next_epoch FROM models WHERE name = ?", (model,))
        if not rows or epoch >= int(rows[0][0]):
            raise Internal(f"Epoch {epoch} of {model} was not allocated.", reason="epoch_not_allocated")


def _record(row: tuple[Any, ...]) -> EpochRecord:
    model, epoch, term, state, *rest = row
    return EpochRecord(model, epoch, term, EpochState(state), *rest)
