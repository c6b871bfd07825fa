"""What the gateways have counted in all, by loading and the role that it had meanwhile.

Reports are cumulative for each gateway's life, so hearing one costs a reference: what a role has counted is the last
report that came while the loading had it, less the last one before. Sums are made when somebody reads. What a gateway
counted after its last report is lost with it: a quarter of a second at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from changeover.controller.point import Counts, Point
from changeover.telemetry.observations import BUCKETS
from changeover.telemetry.statistics import Ran
from changeover.transport.reports import Observations

Key = tuple[int, str]
"""A loading, and a role."""
Errors = dict[tuple[str, str, str], int]
"""Counts by protocol, reason and fault."""


@dataclass(slots=True)
class Way:
    """One protocol's requests that were answered well; how many were shed."""

    latency: Counts = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))
    seconds: float = 0.0
    shed: int = 0

    @property
    def answered(self) -> int:
        """How many."""
        return int(self.latency.sum())

    def include(self, other: Way) -> None:
        """Count what another has counted too."""
        self.latency += other.latency
        self.seconds += other.seconds
        self.shed += other.shed


@dataclass(slots=True)
class Total:
    """What a loading has done in one role."""

    http: Way = field(default_factory=Way)
    grpc: Way = field(default_factory=Way)
    errors: Errors = field(default_factory=dict)
    shielded: int = 0
    runs: list[float] = field(default_factory=lambda: [0.0] * 7)
    sizes: dict[int, int] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether anything was counted."""
        return any((self.http.answered, self.grpc.answered, *self.errors.values(), self.shielded, self.runs[0]))

    def add(self, point: Point, sign: int = 1) -> None:
        """Count a report, or with -1 take one away."""
        seen, http, grpc = point.seen, self.http, self.grpc
        point.count(http.latency, sign)
        http.seconds += sign * seen.seconds
        http.shed += sign * seen.shed
        if point.over_grpc is not None:
            point.count_grpc(grpc.latency, sign)
            point.count_grpc(http.latency, -sign)
            for way, side in ((grpc, sign), (http, -sign)):
                way.seconds += side * point.over_grpc[2]
                way.shed += side * point.over_grpc[3]
        self.shielded += sign * seen.shielded
        _count(self.errors, (((p, r, f), n) for p, r, f, n in seen.errors), sign)
        self.runs = [mine + sign * more for mine, more in zip(self.runs, _columns(seen.ran), strict=True)]
        _count(self.sizes, seen.ran.sizes.items(), sign)

    def include(self, other: Total) -> None:
        """Count what another has counted too."""
        self.http.include(other.http)
        self.grpc.include(other.grpc)
        self.shielded += other.shielded
        _count(self.errors, other.errors.items())
        self.runs = [mine + more for mine, more in zip(self.runs, other.runs, strict=True)]
        _count(self.sizes, other.sizes.items())

    def span(self, span: Span) -> None:
        """Count what one gateway has told."""
        self.add(span.last)
        if span.zero is not None:
            self.add(span.zero, -1)


def _count(counts: dict[Any, int], more: Iterable[tuple[Any, int]], sign: int = 1) -> None:
    for key, count in more:
        counts[key] = counts.get(key, 0) + sign * count


def _columns(ran: Ran) -> tuple[float, ...]:
    return ran.executions, ran.inferences, ran.requests, ran.queue, ran.input, ran.infer, ran.output


@dataclass(frozen=True, slots=True)
class Span:
    """What one gateway has told of a loading while it had this role."""

    role: str
    zero: Point | None
    last: Point


@dataclass(frozen=True, slots=True)
class Read:
    """All of one moment, to be summed anywhere: nothing in it changes any more.

    Attributes:
        flying: requests without an answer, by loading.
        mirrored: copies that were answered, by loading.
        unrouted: errors of requests that came to no model.
    """

    spans: dict[Key, list[Span]]
    past: dict[Key, Total]
    flying: dict[int, int]
    mirrored: dict[int, int]
    unrouted: Errors

    def roles(self) -> dict[int, list[str]]:
        """The roles that each loading has had requests in."""
        found: dict[int, list[str]] = {}
        for loading, role in {**self.spans, **self.past}:
            found.setdefault(loading, []).append(role)
        return found

    def total(self, key: Key) -> Total:
        """The sum of what a loading has done in a role."""
        made = Total()
        if key in self.past:
            made.include(self.past[key])
        for span in self.spans.get(key, ()):
            made.span(span)
        return made


class Totals:
    """Takes reports in.

    Attributes:
        role_of: the role of a loading of a model now.
    """

    def __init__(self) -> None:
        self.role_of: Callable[[str, int], str] = lambda _model, _loading: "none"
        self._spans: dict[tuple[int, int], list[Span]] = {}  # by gateway and loading, the present role last
        self._past: dict[Key, Total] = {}  # of gateways that are dead
        self._pairs: dict[tuple[int, int, int], tuple[int, int]] = {}  # zero and last by gateway, loading, epoch
        self._lost: dict[int, Errors] = {}  # unrouted ones by gateway
        self._lost_before: Errors = {}
        self._old: frozenset[tuple[int, int]] = frozenset()

    def inherit(self, gateways: Iterable[int], loadings: Iterable[int]) -> None:
        """These lived before this controller: what the ones tell first of the others is its zero."""
        self._old = frozenset(product(gateways, loadings))

    def hear(self, gateway: int, report: Observations) -> None:
        """Take in what a report says beside the loadings' counts."""
        for pairs in report.pairs:
            key, copies = (gateway, pairs.loading, pairs.epoch), pairs.compared + pairs.failures
            zero = self._pairs[key][0] if key in self._pairs else copies if key[:2] in self._old else 0
            self._pairs[key] = zero, copies
        if report.unrouted:
            self._lost[gateway] = {(protocol, reason, fault): n for protocol, reason, fault, n in report.unrouted}

    def record(self, gateway: int, told: Point) -> None:
        """Take in a gateway's report on one loading; repeating one changes nothing."""
        key = gateway, told.seen.loading
        spans = self._spans.get(key)
        role = self.role_of(told.seen.model, told.seen.loading)
        if spans is None:
            self._spans[key] = [Span(role, told if key in self._old else None, told)]
        elif role in (spans[-1].role, "none"):  # what drains is still what it was
            spans[-1] = Span(spans[-1].role, spans[-1].zero, told)
        else:
            spans.append(Span(role, spans[-1].last, told))

    def gateway_died(self, gateway: int) -> None:
        """What it told stays counted; nothing of it is in flight."""
        for key in [key for key in self._spans if key[0] == gateway]:
            for span in self._spans.pop(key):
                total = Total()
                total.include(self._past.get((key[1], span.role), total))
                total.span(span)
                self._past[key[1], span.role] = total
        _count(self._lost_before, self._lost.pop(gateway, {}).items())

    def forget(self, loading: int) -> None:
        """A loading was released: its series end."""
        self._spans = {key: spans for key, spans in self._spans.items() if key[1] != loading}
        self._past = {key: total for key, total in self._past.items() if key[0] != loading}
        self._pairs = {key: pairs for key, pairs in self._pairs.items() if key[1] != loading}

    def read(self) -> Read:
        """What is known now; cheap, to be summed elsewhere."""
        spans: dict[Key, list[Span]] = {}
        flying: dict[int, int] = {}
        mirrored: dict[int, int] = {}
        for (_, loading), known in self._spans.items():
            for span in known:
                spans.setdefault((loading, span.role), []).append(span)
            flying[loading] = flying.get(loading, 0) + known[-1].last.seen.in_flight
        for (_, loading, _), (zero, last) in self._pairs.items():
            mirrored[loading] = mirrored.get(loading, 0) + last - zero
        unrouted = dict(self._lost_before)
        for told in self._lost.values():
            _count(unrouted, told.items())
        return Read(spans, dict(self._past), flying, mirrored, unrouted)
