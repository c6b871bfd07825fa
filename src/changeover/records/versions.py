"""The journal's models and their versions: which bytes a number stood for, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from changeover.clock import utc_now
from changeover.records.database import Database


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version of a model, by its bytes. The same number with other bytes is another record.

    Attributes:
        digest: of the sealed artifact, `sha256` in 64 hexadecimal digits.
        source: `repository` or `push`.
        created: when it was first recorded.
    """

    model: str
    version: int
    digest: str
    source: str
    created: str

    def __repr__(self) -> str:
        return f"<Version {self.model}/{self.version}@{self.digest[:4]} from {self.source}>"


@dataclass(frozen=True, slots=True)
class VersionUse:
    """When a version, by its bytes, was used last.

    Attributes:
        digest: of its artifact, which other versions, also of other models, may share.
        used: when it last served or was tried; texts that sort as the moments they stand for.
        served: it has served; else it was refused, taken back, or never tried.
    """

    model: str
    version: int
    digest: str
    used: str
    served: bool


class Versions:
    """Rows of `models` and `versions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def models(self) -> list[str]:
        """Names of all models ever recorded, sorted."""
        return [name for (name,) in self._database.read("SELECT name FROM models ORDER BY name")]

    def add(self, model: str, version: int | None, digest: str, source: str) -> VersionRecord:
        """Record a version, and its model when that is new. Adding it again changes nothing.

        Args:
            model: name of the model.
            version: a positive number; None takes the next one, which nobody else gets.
            digest: of the sealed artifact.
            source: `repository` or `push`.
        """
        with self._database.transaction():
            add_model(self._database, model)
            version = version or self.next_number(model)
            self._database.write(
                "INSERT OR IGNORE INTO versions (model, version, digest, source, created) VALUES (?, ?, ?, ?, ?)",
                (model, version, digest, source, utc_now()),
            )
            rows = self._database.read_as(
                _record,
                "SELECT model, version, digest, source, created FROM versions "
                "WHERE model = ? AND version = ? AND digest = ?",
                (model, version, digest),
            )
        return rows[0]

    def of(self, model: str) -> list[VersionRecord]:
        """All versions of a model by number, then by the time they were first seen."""
        return self._database.read_as(
            _record,
            "SELECT model, version, digest, source, created FROM versions WHERE model = ? ORDER BY version, created",
            (model,),
        )

    def uses(self) -> list[VersionUse]:
        """All versions of all models with their last use, for the choice of what is kept."""
        rows = self._database.read(
            "SELECT v.model, v.version, v.digest, max(v.created, coalesce(max(r.updated), '')), "
            "coalesce(max(r.served), 0) FROM versions v LEFT JOIN ("
            "SELECT model, to_version AS version, to_digest AS digest, updated, "
            "phase IN ('watching', 'succeeded') AS served FROM rollouts "
            "UNION ALL SELECT model, from_version, from_digest, updated, 1 FROM rollouts "
            "WHERE from_version IS NOT NULL) r USING (model, version, digest) "
            "GROUP BY v.model, v.version, v.digest ORDER BY v.model, v.version"
        )
        return [VersionUse(model, version, digest, used, bool(served)) for model, version, digest, used, served in rows]

    def next_number(self, model: str) -> int:
        """One above the highest number recorded: for a push that names none."""
        rows = self._database.read("SELECT coalesce(max(version), 0) FROM versions WHERE model = ?", (model,))
        return int(rows[0][0]) + 1


def add_model(database: Database, model: str) -> None:
    """Make sure that the model has a row; part of other rooms' transactions."""
    database.write("INSERT OR IGNORE INTO models (name, created) VALUES (?, ?)", (model, utc_now()))


def _record(row: tuple[Any, ...]) -> VersionRecord:
    model, version, digest, source, created = row
    return VersionRecord(model, version, digest, source, created)
