"""Statistics of a load run, from the columns of its records. Pure: numpy in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changeover.bench.check import Outcome
from changeover.bench.records import Records

Array = NDArray[Any]

PERCENTILES = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0))


@dataclass(frozen=True, slots=True)
class Switch:
    """The traffic's move from one version to the next, as a client sees it.

    Attributes:
        at: when the first answer of the new version was received (`time.monotonic`).
        last_old: when the last answer of the old version was received.
        stale: answers of an older version to requests sent after `at`.
    """

    old: str
    new: str
    at: float
    last_old: float
    stale: int


def percentiles(seconds: Array) -> dict[str, float]:
    """Return the percentiles of `PERCENTILES` in milliseconds; an empty dict for no values.

    Each is a value that occurred (the lowest that at least so many values do not exceed), never an average of two.
    """
    if not len(seconds):
        return {}
    ordered = np.sort(seconds)
    ranks = {name: max(math.ceil(len(ordered) * p / 100 - 1e-9), 1) for name, p in PERCENTILES}
    return {name: round(float(ordered[rank - 1]) * 1e3, 4) for name, rank in ranks.items()}


def latencies(records: Records, start: float = -np.inf, stop: float = np.inf) -> Array:
    """Return the latencies, due time to answer, of the answered requests that were due in [start, stop)."""
    due = records.column("due")
    chosen = (due >= start) & (due < stop) & (records.column("outcome") < Outcome.FAILED)
    taken = records.column("received") - due
    return np.asarray(taken[chosen])


def window_figures(records: Records, start: float, stop: float) -> dict[str, float]:
    """Return percentiles (ms), `requests` and `failed` (with the shed ones) of what was due in [start, stop).

    Times are those of `time.monotonic`.
    """
    due = records.column("due")
    inside = (due >= start) & (due < stop)
    failed = inside & (records.column("outcome") >= Outcome.FAILED)
    counts = {"requests": float(inside.sum()), "failed": float(failed.sum())}
    return counts | percentiles(latencies(records, start, stop))


def version_ranks(records: Records, order: Sequence[str] = ()) -> tuple[Array, list[str]]:
    """Return for each request the place of its version in the run's sequence of versions, -1 for none.

    With `order` the place is the version's own. Without it the places come from the epochs in the answers'
    headers (consecutive epochs of one version are one place, so the same version may come twice), or, when there are
    none, from the order in which the versions first answered. The second value names the version at each place.
    """
    versions = records.column("version").astype(np.int64)
    if order:
        place = {version: i for i, version in enumerate(order)}
        table = np.array([place.get(version, -1) for version in records.versions] + [-1])  # the last is for -1
        return np.asarray(table[versions]), list(order)
    epochs = records.column("epoch")
    answered = versions >= 0
    if (epochs[answered] < 0).any():
        epochs = _first_seen(versions)
    return _ranks_by_epoch(epochs, versions, records.versions)


def _first_seen(versions: Array) -> Array:
    """Return stand-ins for epochs: each version's place in the order of first appearance."""
    present, first = np.unique(versions, return_index=True)
    first = first[present >= 0]
    present = present[present >= 0]
    places = np.full(int(versions.max(initial=0)) + 2, -1)
    places[present[np.argsort(first)]] = np.arange(len(present))
    return np.asarray(places[versions])


def _ranks_by_epoch(epochs: Array, versions: Array, names: Sequence[str]) -> tuple[Array, list[str]]:
    ranks = np.full(len(versions), -1)
    places: list[int] = []
    for epoch in np.unique(epochs[epochs >= 0]).tolist():
        rows = (epochs == epoch) & (versions >= 0)
        usual = int(np.bincount(versions[rows]).argmax())
        if not places or places[-1] != usual:
            places.append(usual)
        for version in np.unique(versions[rows]).tolist():
            earlier = [i for i, v in enumerate(places) if v == version]
            ranks[rows & (versions == version)] = earlier[-1] if earlier else -1
    return ranks, [names[v] for v in places]


def switches(records: Records, order: Sequence[str] = ()) -> list[Switch]:
    """Return every move to a newer version, with its stale answers.

    An answer is stale when its request was *sent* after the first answer of any newer version was *received*.
    A request in flight at that moment may be answered by either. Meaningful for runs in which all traffic moves at
    once; while traffic is split between versions an older one is right.
    """
    ranks, names = version_ranks(records, order)
    sent, received = records.column("sent"), records.column("received")
    first = np.full(len(names) + 1, np.inf)
    known = ranks >= 0
    np.minimum.at(first, ranks[known], received[known])
    newest_from = np.minimum.accumulate(first[::-1])[::-1]  # when any version at this place or later first answered
    stale = known & (sent > newest_from[ranks + 1])
    found: list[Switch] = []
    seen = [i for i in range(len(names)) if np.isfinite(first[i])]
    for old, new in pairwise(seen):
        of_old = ranks == old
        count = int((stale & of_old).sum())
        last = float(received[of_old].max())
        found.append(Switch(names[old], names[new], float(newest_from[new]), last, count))
    return found
