"""The journal's rollouts: every phase is recorded here before its commands act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from changeover.clock import utc_now
from changeover.errors import NotFound
from changeover.records.certificate import Certificate, VersionRef
from changeover.records.database import Database
from changeover.records.events import Events

_COLUMNS = (
    "id, model, from_version, from_digest, to_version, to_digest, phase, record, certificate, started, updated, ended"
)


KEPT: Final = 200
"""Rollouts of a model that are kept, the newest ones."""
_PRUNE: Final = (
    "DELETE FROM rollouts WHERE model = ? AND ended IS NOT NULL "
    "AND id <= (SELECT id FROM rollouts WHERE model = ? ORDER BY id DESC LIMIT 1 OFFSET ?) "
    "AND id != (SELECT coalesce(max(id), 0) FROM rollouts WHERE model = ? AND phase = 'succeeded') "
    "AND NOT EXISTS (SELECT 1 FROM versions v WHERE v.model = ? AND v.version = to_version AND v.digest = to_digest "
    "AND v.source = 'repository' AND rollouts.id = (SELECT max(n.id) FROM rollouts n WHERE n.model = ? "
    "AND n.to_version = v.version AND n.to_digest = v.digest))"
)
"""Not what is under way, nor what has brought what serves, nor what says that a folder was tried: it would be news."""


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """One rollout as last recorded.

    Attributes:
        id: `r-000001` and so on.
        source: the version it started from, `None` for a model's first.
        target: the version it was for.
        phase: a word of `rollout.machine`.
        record: what the driver wants to find again after a restart.
        certificate: once it was issued.
        ended: time of the terminal phase, or `None`.
    """

    id: str
    model: str
    source: VersionRef | None
    target: VersionRef
    phase: str
    record: dict[str, object] = field(repr=False, hash=False)
    certificate: Certificate | None = field(repr=False)
    started: str
    updated: str
    ended: str | None


class Rollouts:
    """Rows of `rollouts`. What becomes of one is an event too, in the same commit: told once, whoever dies when."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    def open(
        self, model: str, source: VersionRef | None, target: VersionRef, record: Mapping[str, object]
    ) -> RolloutRecord:
        """Record a new rollout in phase `pending`; one that nobody needs any more makes room, in the same commit."""
        now = utc_now()
        with self._database.transaction():
            number = self._database.insert(
                "INSERT INTO rollouts (model, from_version, from_digest, to_version, to_digest, phase, record, "
                "started, "
                "updated) VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, ?)",
                (
                    model,
                    source.version if source else None,
                    source.digest if source else None,
                    target.version,
                    target.digest,
                    msgspec.json.encode(record),
                    now,
                    now,
                ),
            )
            self._database.write(_PRUNE, (model, model, KEPT, model, model, model))
            known = _Way(model, source.version if source else None, target.version)
            self._events.add("rollout", model, known.body(_name(number), {"phase": "pending", "event": "opened"}))
        return self.get(_name(number))

    def move(
        self, rollout: str, phase: str, *, record: Mapping[str, object] | None = None, ended: bool = False
    ) -> None:
        """Record that a rollout reached a phase.

        Args:
            rollout: its id.
            phase: the new phase.
            record: replaces the record kept before; `None` keeps it.
            ended: the phase is a terminal one.

        Raises:
            NotFound: no rollout has this id.
        """
        now, number = utc_now(), _number(rollout)
        with self._database.transaction():
            rows = self._database.read(
                "SELECT model, from_version, to_version, phase, record FROM rollouts WHERE id = ?", (number,)
            )
            if not rows:
                raise _unknown(rollout)
            self._database.write(
                "UPDATE rollouts SET phase = ?, record = coalesce(?, record), updated = ?, ended = coalesce(ended, ?) "
                "WHERE id = ?",
                (phase, None if record is None else msgspec.json.encode(record), now, now if ended else None, number),
            )
            *way, before, kept = rows[0]
            for moment in _moments(before, msgspec.json.decode(kept), phase, record):
                self._events.add("rollout", rows[0][0], _Way(*way).body(rollout, moment))

    def certify(self, rollout: str, certificate: Certificate) -> None:
        """Keep the rollout's certificate; a later one replaces it.

        Raises:
            NotFound: no rollout has this id.
        """
        with self._database.transaction():
            changed = self._database.write(
                "UPDATE rollouts SET certificate = ? WHERE id = ?", (certificate.to_json(), _number(rollout))
            )
            if not changed:
                raise _unknown(rollout)
            told = {"rollout": rollout, "outcome": certificate.outcome, "by": certificate.decided_by}
            self._events.add("certificate", certificate.model, told)

    def get(self, rollout: str) -> RolloutRecord:
        """One rollout.

        Raises:
            NotFound: no rollout has this id.
        """
        rows = self._database.read_as(
            _record,
            f"SELECT {_COLUMNS} FROM rollouts WHERE id = ?",  # noqa: S608
            (_number(rollout),),
        )
        if not rows:
            raise _unknown(rollout)
        return rows[0]

    def of(self, model: str, *, limit: int = 100) -> list[RolloutRecord]:
        """The newest rollouts of a model, newest first."""
        return self._database.read_as(
            _record,
            f"SELECT {_COLUMNS} FROM rollouts WHERE model = ? ORDER BY id DESC LIMIT ?",  # noqa: S608
            (model, limit),
        )

    def unfinished(self) -> list[RolloutRecord]:
        """Rollouts without a terminal phase, oldest first: to be gone on with after a restart."""
        return self._database.read_as(_record, f"SELECT {_COLUMNS} FROM rollouts WHERE ended IS NULL ORDER BY id")  # noqa: S608

    def latest_for(self, model: str, target: VersionRef) -> RolloutRecord | None:
        """The newest rollout that was for exactly these bytes, or `None`: tells what was tried before."""
        rows = self._database.read_as(
            _record,
            f"SELECT {_COLUMNS} FROM rollouts WHERE model = ? AND to_version = ? AND to_digest = ? "  # noqa: S608
            "ORDER BY id DESC LIMIT 1",
            (model, target.version, target.digest),
        )
        return rows[0] if rows else None


@dataclass(frozen=True, slots=True)
class _Way:
    """Whose rollout it is, and from where to where."""

    model: str
    source: int | None
    target: int

    def body(self, rollout: str, moment: Mapping[str, object]) -> dict[str, object]:
        """An event's body."""
        source = None if self.source is None else str(self.source)
        return {"rollout": rollout, "from": source, "to": str(self.target), **_NOWHERE, **moment}


_NOWHERE: Final = {"step": None, "weight": None, "by": None, "reason": None, "detail": None}


def _moments(
    before: str, kept: Mapping[str, Any], phase: str, record: Mapping[str, Any] | None
) -> list[dict[str, object]]:
    """What has happened since the record that is kept: the moments that its history lacks, or the phase by itself."""
    history = list((record or {}).get("history") or [])[len(kept.get("history") or []) :]
    moments = [{name: value for name, value in moment.items() if name != "at"} for moment in history]
    if not moments and phase != before:
        why = record or {}
        moments = [{"phase": str(phase), "reason": why.get("reason"), "detail": why.get("detail")}]
    return moments


def _name(number: int) -> str:
    return f"r-{number:06d}"


def _number(rollout: str) -> int:
    prefix, digits = rollout[:2], rollout[2:]
    if prefix != "r-" or not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise _unknown(rollout)
    return int(digits)


def _unknown(rollout: str) -> NotFound:
    return NotFound(f"There is no rollout {rollout!r}.", reason="rollout_not_found")


def _record(row: tuple[Any, ...]) -> RolloutRecord:
    number, model, from_version, from_digest, to_version, to_digest, phase, record, certificate, *times = row
    return RolloutRecord(
        _name(number),
        model,
        VersionRef(from_version, from_digest) if from_version is not None else None,
        VersionRef(to_version, to_digest),
        phase,
        msgspec.json.decode(record, type=dict[str, object]),
        Certificate.from_json(certificate) if certificate is not None else None,
        *times,
    )
