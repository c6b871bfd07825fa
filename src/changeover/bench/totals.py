"""The sums of a run too long to keep a row of every request: folded in once a second, of bounded size. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changeover.bench.check import Outcome
from changeover.bench.figures import PERCENTILES, Switch
from changeover.bench.records import Records

Array = NDArray[Any]
_STEP = 1.02
"""Two latencies this near fall into one class; a percentile is the upper edge of its class."""
_LEAST = 1e-6
_CLASSES = 1100  # up to 1e-6 * 1.02 ** 1100 = 2,900 s


class Histogram:
    """Counts of times in classes 2 % wide."""

    def __init__(self) -> None:
        self._counts = np.zeros(_CLASSES, np.int64)
        self._longest = 0.0

    def add(self, seconds: Array) -> None:
        """Count some times."""
        if len(seconds):
            classes = np.ceil(np.log(np.maximum(seconds, _LEAST) / _LEAST) / np.log(_STEP)).astype(np.int64)
            self._counts += np.bincount(np.minimum(classes, _CLASSES - 1), minlength=_CLASSES)
            self._longest = max(self._longest, float(seconds.max()))

    def percentiles(self) -> dict[str, float]:
        """The percentiles of `PERCENTILES` in milliseconds, at most 2 % too high; an empty dict for no values."""
        total = int(self._counts.sum())
        if not total:
            return {}
        passed = np.cumsum(self._counts)
        places = {name: int(np.searchsorted(passed, max(np.ceil(total * p / 100), 1))) for name, p in PERCENTILES}
        upper = {name: min(_LEAST * _STEP**place, self._longest) for name, place in places.items()}
        return {name: round(value * 1e3, 4) for name, value in upper.items()} | {"max": round(self._longest * 1e3, 4)}


@dataclass(slots=True)
class Seen:
    """The answers of one version: how many, from when until when, and how many came too late."""

    answers: int = 0
    first: float = np.inf
    last: float = -np.inf
    stale: int = 0


class Totals:
    """What became of all requests so far.

    Rows have to be added in the order in which their requests ended, which is the order of `Records`.

    Args:
        order: versions in the order in which they must come; the others are ranked as they first answer, behind them.
    """

    def __init__(self, order: Sequence[str] = ()) -> None:
        self._rank = {version: i for i, version in enumerate(order)}
        self._seen: dict[str, Seen] = {}
        self._failures: Counter[str] = Counter()
        self._latency, self._delay, self._shed = Histogram(), Histogram(), Histogram()

    def add(self, records: Records) -> None:
        """Fold in the rows of `records`."""
        outcome, due = records.column("outcome"), records.column("due")
        taken = records.column("received") - due
        self._latency.add(taken[outcome < Outcome.FAILED])
        self._shed.add(taken[outcome == Outcome.SHED])
        self._delay.add(records.column("sent") - due)
        self._failures.update(records.failures())
        self._add_versions(records)

    def _add_versions(self, records: Records) -> None:
        versions, sent, received = (records.column(name) for name in ("version", "sent", "received"))
        present = [(records.versions[i], versions == i) for i in np.unique(versions).tolist() if i >= 0]
        for name, rows in present:
            self._rank.setdefault(name, len(self._rank))
            seen = self._seen.setdefault(name, Seen())
            seen.answers += int(rows.sum())
            seen.first = min(seen.first, float(received[rows].min()))
            seen.last = max(seen.last, float(received[rows].max()))
        for name, rows in present:
            rank = self._rank[name]
            newer = min((s.first for other, s in self._seen.items() if self._rank[other] > rank), default=np.inf)
            self._seen[name].stale += int((sent[rows] > newer).sum())

    def switches(self) -> list[Switch]:
        """Every move to a newer version, as `figures.switches` finds them."""
        names = sorted(self._seen, key=self._rank.__getitem__)
        found, newest = [], np.inf
        for old, new in reversed(list(pairwise(names))):
            newest = min(newest, self._seen[new].first)
            found.append(Switch(old, new, newest, self._seen[old].last, self._seen[old].stale))
        return found[::-1]

    def figures(self) -> dict[str, Any]:
        """The members of the result document that need all requests."""
        return {
            "failures": dict(self._failures),
            "latency_ms": self._latency.percentiles(),
            "shed_ms": self._shed.percentiles(),
            "send_delay_ms": self._delay.percentiles(),
            "versions": {name: {"answers": seen.answers, "latency_ms": {}} for name, seen in self._seen.items()},
        }
