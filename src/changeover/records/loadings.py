"""The journal's loadings: each attempt to bring one version up, how far it came, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from changeover.clock import utc_now
from changeover.errors import NotFound
from changeover.records.database import Database
from changeover.records.events import Events

_COLUMNS = "id, model, version, digest, options, state, reason, detail, measured, created, updated"


KEPT: Final = 200
"""Loadings of a model that are kept, the newest ones; one that has not ended is none of the rest."""
_PRUNE: Final = (
    "DELETE FROM loadings WHERE model = ? AND state IN ('released', 'failed') "
    "AND id <= (SELECT id FROM loadings WHERE model = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"
)


@dataclass(frozen=True, slots=True)
class LoadingRecord:
    """One loading.

    Attributes:
        options: digest of the runtime options.
        state: a word of `lifecycle.states`.
        reason: stable word of the failure, or `None`.
        detail: sentence of the failure, or `None`.
        measured: numbers taken on the way (`load_seconds`, `peak_bytes`, …).
    """

    id: int
    model: str
    version: int
    digest: str
    options: str
    state: str
    reason: str | None
    detail: str | None
    measured: dict[str, object] = field(hash=False)
    created: str
    updated: str

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<Loading {self.id} {self.model}/{self.version}@{self.digest[:4]} {self.state}{why}>"


class Loadings:
    """Rows of `loadings`. Each state is an event `version` too, in the same commit."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    def open(self, model: str, version: int, digest: str, options: str) -> int:
        """Record a new loading in state `new`; its id."""
        now = utc_now()
        with self._database.transaction():
            number = self._database.insert(
                "INSERT INTO loadings (model, version, digest, options, state, measured, created, updated) "
                "VALUES (?, ?, ?, ?, 'new', ?, ?, ?)",
                (model, version, digest, options, b"{}", now, now),
            )
            self._database.write(_PRUNE, (model, model, KEPT))
            self._tell(LoadingRecord(number, model, version, digest, options, "new", None, None, {}, now, now))
        return number

    def move(
        self,
        loading: int,
        state: str,
        *,
        failure: tuple[str, str] | None = None,
        measured: Mapping[str, object] | None = None,
    ) -> None:
        """Record that a loading reached a state.

        Args:
            loading: its id.
            state: the new state; whether the move is allowed is for `lifecycle.states` to say.
            failure: reason and sentence.
            measured: numbers to add to those recorded before.

        Raises:
            NotFound: no loading has this id.
        """
        with self._database.transaction():
            record = self.get(loading)
            known = record.measured
            reason, detail = failure or (None, None)
            self._database.write(
                "UPDATE loadings SET state = ?, reason = coalesce(?, reason), detail = coalesce(?, detail), "
                "measured = ?, updated = ? WHERE id = ?",
                (
                    state,
                    reason,
                    detail,
                    msgspec.json.encode({**known, **(measured or {})}),
                    utc_now(),
                    loading,
                ),
            )
            self._tell(replace(record, state=str(state), reason=reason, detail=detail))

    def _tell(self, record: LoadingRecord) -> None:
        told = {"version": str(record.version), "digest": record.digest, "loading": record.id, "state": record.state}
        self._events.add("version", record.model, {**told, "reason": record.reason, "detail": record.detail})

    def get(self, loading: int) -> LoadingRecord:
        """One loading.

        Raises:
            NotFound: no loading has this id.
        """
        rows = self._database.read_as(_record, f"SELECT {_COLUMNS} FROM loadings WHERE id = ?", (loading,))  # noqa: S608
        if not rows:
            raise NotFound(f"There is no loading {loading}.", reason="loading_not_found")
        return rows[0]

    def of(self, model: str, *, limit: int = 100) -> list[LoadingRecord]:
        """The newest loadings of a model, newest first."""
        return self._database.read_as(
            _record,
            f"SELECT {_COLUMNS} FROM loadings WHERE model = ? ORDER BY id DESC LIMIT ?",  # noqa: S608
            (model, limit),
        )


def _record(row: tuple[Any, ...]) -> LoadingRecord:
    number, model, version, digest, options, state, reason, detail, measured, *times = row
    numbers = msgspec.json.decode(measured)
    return LoadingRecord(number, model, version, digest, options, state, reason, detail, numbers, *times)
