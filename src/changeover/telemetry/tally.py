"""Counting evidence at a gateway: one tally an arm, which is a loading under one epoch in one life of its worker.

A tally only grows, so a report of it may be repeated. Who counts what: the pipeline each routed request once, the
batcher the work of each run.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from changeover.telemetry.evidence import KEY_CAP
from changeover.telemetry.observations import BUCKETS

_CLASSES = 8
"""Batch-size classes 1, 2, 4, … 128; what is larger counts in the last. All of them fit a frame of the link."""
_KEPT = 4
_STEP = 16
_MOST_KEYS = 20_000
"""Keys that a tally tells apart; later ones are no units of evidence."""


Place = tuple[int, int]
"""A gateway's own number, from 0, and how many there are."""
ONLY: Final[Place] = (0, 1)


class Tally:
    """Counts of one arm at one gateway.

    Attributes:
        requests: routed and answered, or failed.
        failures: by the version's fault, `shielded` of which the client did not see.
        spent: picks that went to the active version because the replays' budget was empty.
        latency: end to end, counts by bucket.
        work: worker CPU time of a run, counts by bucket, by class of batch size (the exponent of two).
        states: how many keys were here so often (10 at most) and failed so often then, as `requests * 16 + failures`.
            Each key belongs to one of the gateways and is a unit of evidence only there, or it would be two.
        late: the first bucket of an answer that came too late to be a good one.
    """

    __slots__ = (
        "_keys", "_place", "epoch", "failures", "late", "latency", "loading", "member",
        "requests", "shielded", "spent", "states", "work",
    )  # fmt: skip

    def __init__(self, loading: int, epoch: int, member: int, place: Place = ONLY) -> None:
        self.loading = loading
        self.epoch = epoch
        self.member = member
        self.requests = 0
        self.failures = 0
        self.shielded = 0
        self.spent = 0
        self.latency = [0] * BUCKETS
        self.work: dict[int, list[int]] = {}
        self.states: dict[int, int] = {}
        self.late = BUCKETS
        self._place = place
        self._keys: dict[int, int] = {}

    def answered(self, bucket: int, key: bytes | None) -> None:
        """A request was answered well, in the time of this bucket."""
        self.requests += 1
        self.latency[bucket] += 1
        late = bucket >= self.late
        if late:
            self.failures += 1
        if key is not None:
            self._keyed(key, late)

    def failed(self, key: bytes | None, bucket: int | None = None) -> None:
        """A request failed by the version's fault; `bucket` is that of the time it took, where time was the fault."""
        self.requests += 1
        self.failures += 1
        if bucket is not None:
            self.latency[bucket] += 1
        if key is not None:
            self._keyed(key, True)

    def saturated(self, key: bytes) -> bool:
        """Whether a key counts no more."""
        return self._keys.get(crc32(key), 0) >= KEY_CAP * _STEP

    def left(self, bucket: int, key: bytes | None) -> None:
        """The client went away; that is the version's fault when the answer was late already."""
        if bucket >= self.late:
            self.failed(key, bucket)

    def key_states(self) -> list[tuple[int, int, int]]:
        """(requests, failures, number of keys that are there) of each state."""
        return [(*divmod(state, _STEP), count) for state, count in self.states.items() if count]

    def worked(self, rows: int, bucket: int) -> None:
        """A run of so many rows took CPU time of this bucket."""
        size = min((rows - 1).bit_length(), _CLASSES - 1)
        counts = self.work.get(size)
        if counts is None:
            counts = self.work[size] = [0] * BUCKETS
        counts[bucket] += 1

    def _keyed(self, key: bytes, failed: bool) -> None:
        number = crc32(key)
        state = self._keys.get(number, 0)
        if state >= KEY_CAP * _STEP or (not state and len(self._keys) >= _MOST_KEYS):
            return
        after = self._keys[number] = state + _STEP + failed
        index, gateways = self._place
        if number % gateways != index:
            return
        self.states[after] = self.states.get(after, 0) + 1
        if state:
            self.states[state] -= 1


class Ledger:
    """The tallies of one loading at one gateway.

    Attributes:
        current: where requests count now; None outside of a rollout.
        place: of this gateway.
    """

    def __init__(self, loading: int) -> None:
        self.place = ONLY
        self.loading = loading
        self.current: Tally | None = None
        self._epoch = 0
        self._member = 0
        self._kept: list[Tally] = []
        self._told: dict[int, tuple[int, ...]] = {}

    def step(self, epoch: int) -> None:
        """A table is in force; `epoch` 0 for one that compares nothing."""
        self._epoch = epoch
        self._turn()

    def incarnate(self, member: int) -> None:
        """Another worker has taken over."""
        self._member = member
        self._turn()

    def news(self) -> list[Tally]:
        """Tallies that have changed since this was asked last."""
        changed = []
        for tally in self._kept:
            counts = (tally.requests, tally.failures, tally.shielded, tally.spent, len(tally.work))
            if self._told.get(id(tally)) != counts:
                self._told[id(tally)] = counts
                changed.append(tally)
        return changed

    def forget(self) -> None:
        """Everything is news again."""
        self._told.clear()

    def _turn(self) -> None:
        self.current = Tally(self.loading, self._epoch, self._member, self.place) if self._epoch else None
        if self.current is not None:
            self._kept = [*self._kept[1 - _KEPT :], self.current]
            self._told = {id(t): self._told[id(t)] for t in self._kept if id(t) in self._told}
