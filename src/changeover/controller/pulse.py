"""What each loading did in each second, of what the gateways tell: the source of samples and alarms."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from changeover.controller.point import Point
from changeover.telemetry.observations import merged, percentile

KEPT: Final = 60
"""Seconds of a loading that are kept."""
DETAILED: Final = 10
"""Of them, those with latencies."""
_LONGEST_NS: Final = 1_500_000_000
"""Between two reports of one gateway: after more than that it had nothing to tell meanwhile."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a loading did in one second, or some.

    Attributes:
        seconds: how long that was.
        requests: answered well; `failed` were not, for the client; `shielded` were, by the other version; `shed` were
            not taken.
        latency: of those answered well, by the buckets of `telemetry.observations`.
    """

    seconds: float = 0.0
    requests: int = 0
    failed: int = 0
    shielded: int = 0
    shed: int = 0
    latency: dict[int, int] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """Requests that this loading had to answer."""
        return self.requests + self.failed + self.shielded

    @property
    def failures(self) -> int:
        """Of them, those that it did not answer well, whoever saw it."""
        return self.failed + self.shielded

    @property
    def error_share(self) -> float:
        """Of what it had to answer."""
        return self.failures / self.asked if self.asked else 0.0

    def quantile(self, share: float) -> float | None:
        """Seconds below which this share of the answers came, None without answers."""
        return percentile(self.latency, share)


def sum_of(beats: Iterable[Beat]) -> Beat:
    """Several seconds together."""
    every = list(beats)
    if len(every) == 1:
        return every[0]
    return Beat(
        sum(b.seconds for b in every),
        sum(b.requests for b in every),
        sum(b.failed for b in every),
        sum(b.shielded for b in every),
        sum(b.shed for b in every),
        merged([b.latency for b in every]),
    )


@dataclass(slots=True)
class _Source:
    """One loading at one gateway: what it told last, and what of it is counted."""

    told: Point
    counted: Point | None = None

    def beat(self, tick: float) -> Beat:
        """What is new, which is counted now."""
        new, old = self.told, self.counted
        self.counted = new
        seen = new.seen
        if old is None:
            return Beat(tick, seen.requests, seen.failed, seen.shielded, seen.shed, new.latency)
        between = new.at_ns - old.at_ns
        before = old.seen
        return Beat(
            between / 1e9 if 0 < between <= _LONGEST_NS else tick,
            seen.requests - before.requests,
            seen.failed - before.failed,
            seen.shielded - before.shielded,
            seen.shed - before.shed,
            new.latency_since(old),
        )


class Pulse:
    """Takes reports in, and gives a beat a second of every loading.

    Attributes:
        recent: the last beats of each loading, the newest at the end; an idle second is an empty one.
    """

    def __init__(self) -> None:
        self.recent: dict[int, deque[Beat]] = {}
        self._sources: dict[tuple[int, int], _Source] = {}
        self._changed: set[tuple[int, int]] = set()
        self._inherited: set[tuple[int, int]] = set()
        self._dead: set[int] = set()
        self._in_flight: dict[int, int] = {}

    def inherit(self, gateways: Iterable[int], loadings: Iterable[int]) -> None:
        """What these tell first was counted for the last controller, and is their zero."""
        numbers = list(loadings)
        self._inherited = {(gateway, loading) for gateway in gateways for loading in numbers}

    def record(self, gateway: int, told: Point) -> None:
        """Take in a report; repeating one changes nothing."""
        key = gateway, told.seen.loading
        source = self._sources.get(key)
        if source is not None:
            source.told = told
        elif key in self._inherited:
            self._inherited.discard(key)
            self._sources[key] = _Source(told, told)
        else:
            self._sources[key] = _Source(told)
        self._changed.add(key)

    def gateway_died(self, gateway: int) -> None:
        """It tells nothing any more; what it told last still counts."""
        self._dead.add(gateway)

    def forget(self, loading: int) -> None:
        """A loading was released."""
        self.recent.pop(loading, None)
        self._sources = {key: source for key, source in self._sources.items() if key[1] != loading}
        self._changed = {key for key in self._changed if key[1] != loading}

    def tick(self, seconds: float) -> None:
        """A second is over: everything told since the last tick is one beat."""
        found: dict[int, list[Beat]] = {}
        for key in self._changed:
            found.setdefault(key[1], []).append(self._sources[key].beat(seconds))
        self._changed.clear()
        if self._dead:
            self._sources = {key: source for key, source in self._sources.items() if key[0] not in self._dead}
            self._dead.clear()
        self._in_flight.clear()
        for (_, loading), source in self._sources.items():
            waiting = source.told.seen.in_flight
            self._in_flight[loading] = self._in_flight.get(loading, 0) + waiting
        for loading in {*self.recent, *found}:
            kept = self.recent.setdefault(loading, deque(maxlen=KEPT))
            kept.append(_beside(found.get(loading, []), seconds))
            if len(kept) > DETAILED and kept[-DETAILED - 1].latency:
                kept[-DETAILED - 1] = replace(kept[-DETAILED - 1], latency={})

    def in_flight(self, loading: int) -> int:
        """Requests that had no answer at the last tick."""
        return self._in_flight.get(loading, 0)

    def last(self, loading: int, beats: int) -> Beat:
        """The last so many beats together."""
        kept = self.recent.get(loading)
        return sum_of(list(kept)[-beats:]) if kept else Beat()


def _beside(beats: list[Beat], seconds: float) -> Beat:
    """What several gateways did at the same time."""
    if not beats:
        return Beat(seconds)
    if len(beats) == 1:
        return beats[0]
    total = sum_of(beats)
    longest = max(beat.seconds for beat in beats)
    return Beat(longest, total.requests, total.failed, total.shielded, total.shed, total.latency)
