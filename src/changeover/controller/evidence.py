"""The evidence of rollouts, as the gateways tell it: both arms of a step over the same time.

What a gateway tells is cumulative for each arm, and both arms come out of one report. A report counts from when it
was heard here, so nothing falls between two windows that follow one another, and nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from changeover.controller.series import Series, Thinning
from changeover.telemetry.evidence import Apart, Arm, Pairs, Window
from changeover.telemetry.observations import difference, merged
from changeover.transport.control import RoutingTable, encode
from changeover.transport.reports import Observations, Paired, Tallied

_KEPT = Thinning(fine_ns=3 * 10**9, coarse_ns=10**9, kept_ns=60 * 10**9)
_EPOCHS = 2
"""Of a loading, the newest are kept."""
R = TypeVar("R", Tallied, Paired)
_NO_TALLY = Tallied(0, 0, 0, 0, 0, 0, 0, {}, {})
_NO_PAIRS = Paired(0, 0, 0, 0, 0, 0, {})


@dataclass(frozen=True, slots=True)
class _Heard(Generic[R]):
    """A report as it is kept: as bytes, for its histograms are large and mostly nobody asks for them again."""

    at_ns: int
    told: bytes
    kind: type[R]

    def read(self) -> R:
        """The report."""
        return msgspec.json.decode(self.told, type=self.kind)


@dataclass(slots=True)
class _Source(Generic[R]):
    """One arm, or its mirror, at one gateway.

    Attributes:
        inherited: it had counted before this controller.
        cut: when the last window of a row ended, and the report that it ended with: the next one begins with that,
            which may have been thinned out meanwhile.
    """

    series: Series[_Heard[R]]
    inherited: bool
    cut: tuple[int, _Heard[R] | None] = (0, None)

    def between(self, start_ns: int, end_ns: int, zero: R, *, row: bool) -> tuple[R, R]:
        """What it had counted at the start and at the end."""
        before, after = self.series.between(start_ns, end_ns)
        if row:
            before = self.cut[1] if start_ns == self.cut[0] else before
            self.cut = end_ns, after
        if before is None and self.inherited and start_ns:
            before = self.series.first
        return before.read() if before else zero, after.read() if after else zero


_Key = tuple[int, int, int, int]
"""Gateway, loading, epoch, worker."""


class Evidence:
    """Everything told of the newest steps."""

    def __init__(self) -> None:
        self._arms: dict[_Key, _Source[Tallied]] = {}
        self._mirrors: dict[_Key, _Source[Paired]] = {}
        self._weights: dict[tuple[int, int], int] = {}  # buckets by loading and epoch
        self._old_gateways: frozenset[int] = frozenset()
        self._old_epochs: Mapping[int, int] = {}

    def inherit(self, gateways: Iterable[int], epochs: Mapping[int, int]) -> None:
        """These gateways lived before this controller; `epochs`: of each loading, the one in force then."""
        self._old_gateways, self._old_epochs = frozenset(gateways), epochs

    def drawn(self, table: RoutingTable) -> None:
        """A table was published."""
        for entry in table.loadings:
            count = sum(n for n, loading in table.buckets if loading == entry.loading)
            self._weights[entry.loading, table.epoch] = count

    def record(self, gateway: int, heard_ns: int, report: Observations) -> None:
        """Take in a report; repeating one changes nothing."""
        for tally in report.tallies:
            self._add(self._arms, (gateway, tally.loading, tally.epoch, tally.member), heard_ns, tally)
        for pairs in report.pairs:
            self._add(self._mirrors, (gateway, pairs.loading, pairs.epoch, 0), heard_ns, pairs)

    def forget(self, loading: int) -> None:
        """A loading was released."""
        self._arms = {key: source for key, source in self._arms.items() if key[1] != loading}
        self._mirrors = {key: source for key, source in self._mirrors.items() if key[1] != loading}
        self._weights = {key: count for key, count in self._weights.items() if key[0] != loading}

    def window(
        self,
        epoch: int,
        active: tuple[int, int],
        candidate: tuple[int, int],
        span: tuple[int, int],
        busy: float,
        *,
        row: bool = False,
    ) -> Window:
        """Both arms, (loading, worker) each, between two times (CLOCK_MONOTONIC ns).

        With `row` it is one of a row of windows, each of which begins where the one before ended: they have everything
        once, however far they are apart. There is one row, the judge's; who only looks asks without.

        Nobody asks for an epoch before this one any more: a version that serves for months is in many tables.
        """
        both = active[0], candidate[0]
        self._weights = {key: n for key, n in self._weights.items() if key[0] not in both or key[1] >= epoch}
        return Window(
            stratum=(epoch, candidate[1], active[1]),
            start_ns=span[0],
            end_ns=span[1],
            weight=self._weights.get((candidate[0], epoch), 0),
            active=self._arm(epoch, active, span, row=row),
            candidate=self._arm(epoch, candidate, span, row=row),
            pairs=self._pairs(epoch, candidate[0], span, row=row),
            busy=busy,
        )

    def _arm(self, epoch: int, who: tuple[int, int], span: tuple[int, int], *, row: bool) -> Arm:
        """What a loading did; the counts of keys are of its present worker."""
        loading, member = who
        arm = Arm()
        for (_, number, counted, worker), source in self._arms.items():
            if (number, counted) == (loading, epoch):
                before, after = source.between(*span, _NO_TALLY, row=row)
                arm = _plus(arm, before, after, keys=worker == member)
        return arm

    def _pairs(self, epoch: int, loading: int, span: tuple[int, int], *, row: bool) -> Pairs:
        total = Pairs()
        for (_, number, counted, _member), source in self._mirrors.items():
            if (number, counted) == (loading, epoch):
                before, after = source.between(*span, _NO_PAIRS, row=row)
                total = Pairs(
                    compared=total.compared + after.compared - before.compared,
                    flips=total.flips + after.flips - before.flips,
                    failures=total.failures + after.failures - before.failures,
                    errors=merged([total.errors, difference(after.errors, before.errors)]),
                    dropped=total.dropped + after.dropped - before.dropped,
                    apart=total.apart.joined(Apart(*after.apart)),
                )
        return total

    def _add(self, sources: dict[_Key, _Source[R]], key: _Key, heard_ns: int, told: R) -> None:
        source = sources.get(key)
        if source is None:
            self._make_room(sources, key[1], key[2])
            old = key[0] in self._old_gateways and key[2] <= self._old_epochs.get(key[1], 0)
            source = sources[key] = _Source(Series(_KEPT), old)
        source.series.add(_Heard(heard_ns, encode(told), type(told)))

    def _make_room(self, sources: dict[_Key, _Source[R]], loading: int, epoch: int) -> None:
        known = sorted({key[2] for key in sources if key[1] == loading} | {epoch})
        for key in [k for k in sources if k[1] == loading and k[2] in known[:-_EPOCHS]]:
            del sources[key]


def _plus(arm: Arm, before: Tallied, after: Tallied, *, keys: bool) -> Arm:
    """An arm with what was counted between two reports of one gateway."""
    states = {(requests, failures): count for requests, failures, count in after.keys} if keys else {}
    return Arm(
        requests=arm.requests + after.requests - before.requests,
        failures=arm.failures + after.failures - before.failures,
        shielded=arm.shielded + after.shielded - before.shielded,
        latency=merged([arm.latency, difference(after.latency, before.latency)]),
        work=_work(arm.work, before.work, after.work),
        keys={state: arm.keys.get(state, 0) + states.get(state, 0) for state in {*arm.keys, *states}},
        spent=arm.spent + after.spent - before.spent,
    )


def _work(
    total: Mapping[int, Mapping[int, int]],
    before: Mapping[int, Mapping[int, int]],
    after: Mapping[int, Mapping[int, int]],
) -> dict[int, dict[int, int]]:
    found = {size: dict(counts) for size, counts in total.items()}
    for size, counts in after.items():
        fresh = difference(counts, before.get(size, {}))
        if fresh:
            found[size] = merged([found.get(size, {}), fresh])
    return found
