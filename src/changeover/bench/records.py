"""One row for each request, in arrays: 44 bytes a request, so that a run of millions fits in memory.

Longer runs fold the rows into `changeover.bench.totals` and forget them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from changeover.bench.check import Outcome

Array = NDArray[Any]

_MOST_BREAKS = 1_000_000
_COLUMNS = ("due", "sent", "received", "epoch", "status", "version", "reason", "outcome", "fresh")


class Timing(NamedTuple):
    """When a request was due, sent and ended (`time.monotonic`), and whether it had its own connection."""

    due: float
    sent: float
    received: float
    fresh: bool


class Break(NamedTuple):
    """A connection that the peer cut.

    Attributes:
        at: when it was noticed, `time.monotonic`.
        port: the generator's end of it.
        reason: the word for it.
        busy: a request was waiting on it; False: it was idle.
        retried: that request was sent again on a new connection.
    """

    at: float
    port: int
    reason: str
    busy: bool
    retried: bool


class Records:
    """What became of every request, in the order in which they ended.

    Times are those of `time.monotonic`, in seconds, and so comparable between processes of one machine.
    `status` is the HTTP status, 0 when there was no answer. `version` and `reason` are indices into
    `versions` and `reasons`.

    Attributes:
        counts: requests by outcome so far, the index is `Outcome`.
        breaks: the connections that were cut, the first million of them.
    """

    def __init__(self) -> None:
        self.due = array("d")
        self.sent = array("d")
        self.received = array("d")
        self.epoch = array("q")
        self.status = array("h")
        self.version = array("h")
        self.reason = array("h")
        self.outcome = array("b")
        self.fresh = array("b")
        self.counts = [0] * len(Outcome)
        self.breaks: list[Break] = []
        self.versions: list[str] = []
        self.reasons: list[str] = [""]
        self._version_index: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.due)

    def version_index(self, version: str) -> int:
        """Return the index of a version's name, adding it at its first use."""
        index = self._version_index.get(version)
        if index is None:
            index = self._version_index[version] = len(self.versions)
            self.versions.append(version)
        return index

    def add_answer(self, timing: Timing, version: int, outcome: int, epoch: int) -> None:
        """Add a request that was answered with 200; `version` is from `version_index`."""
        self._add_timing(timing)
        self.epoch.append(epoch)
        self.status.append(200)
        self.version.append(version)
        self.reason.append(0)
        self.outcome.append(outcome)
        self.counts[outcome] += 1

    def add_failure(self, timing: Timing, status: int, reason: str, outcome: Outcome = Outcome.FAILED) -> None:
        """Add a request that failed or was shed: `status` 0 when no answer came, `reason` a word that says why."""
        self._add_timing(timing)
        self.epoch.append(-1)
        self.status.append(status)
        self.version.append(-1)
        if reason not in self.reasons:
            self.reasons.append(reason)
        self.reason.append(self.reasons.index(reason))
        self.outcome.append(outcome)
        self.counts[outcome] += 1

    def add_break(self, cut: Break) -> None:
        """Add a connection that was cut; it is no request, and its request gets a row when that ends."""
        if len(self.breaks) < _MOST_BREAKS:
            self.breaks.append(cut)

    def clear_rows(self) -> None:
        """Forget the rows; the counts, breaks and names stay."""
        for name in _COLUMNS:
            del getattr(self, name)[:]

    def _add_timing(self, timing: Timing) -> None:
        due, sent, received, fresh = timing
        self.due.append(due)
        self.sent.append(sent)
        self.received.append(received)
        self.fresh.append(fresh)

    def column(self, name: str, start: int = 0) -> Array:
        """Return a copy of one column as an array, from row `start` on."""
        values: array[Any] = getattr(self, name)
        return np.array(values[start:], dtype=values.typecode)

    def failures(self) -> dict[str, int]:
        """Count the failures by what they were: `503 queue_full`, `connection reset`."""
        failed = self.column("outcome") >= Outcome.FAILED
        statuses, reasons = self.column("status")[failed].tolist(), self.column("reason")[failed].tolist()
        counts = Counter(zip(statuses, reasons, strict=True))
        return {f"{status or ''} {self.reasons[reason]}".strip(): n for (status, reason), n in counts.items()}

    def save(self, path: Path) -> None:
        """Write all columns and the names of versions and reasons as an .npz."""
        columns: dict[str, Any] = {name: self.column(name) for name in _COLUMNS}
        columns["breaks"] = np.array([(b.at, b.port, b.busy, b.retried) for b in self.breaks], "d").reshape(-1, 4)
        columns["break_reasons"] = np.array([b.reason for b in self.breaks], "U")
        columns |= {"versions": np.array(self.versions, "U"), "reasons": np.array(self.reasons, "U")}
        with path.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **columns)

    @classmethod
    def load(cls, path: Path) -> Records:
        """Read what `save` wrote."""
        records = cls()
        with np.load(path, allow_pickle=False) as file:
            for name in _COLUMNS:
                column: array[Any] = getattr(records, name)
                column.frombytes(file[name].astype(column.typecode).tobytes())
            for version in file["versions"].tolist():
                records.version_index(version)
            records.reasons = file["reasons"].tolist()
            rows = zip(file["breaks"].tolist(), file["break_reasons"].tolist(), strict=True)
        records.breaks = [Break(at, int(port), why, bool(busy), bool(again)) for (at, port, busy, again), why in rows]
        records.counts = np.bincount(records.column("outcome"), minlength=len(Outcome)).tolist()
        return records
