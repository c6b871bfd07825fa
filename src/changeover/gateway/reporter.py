"""Tells the controller what was counted, when anything was."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns

from changeover.gateway.models import Models
from changeover.gateway.router import Target
from changeover.telemetry.observations import Counter, sparse
from changeover.telemetry.pairing import PairCount
from changeover.telemetry.tally import Tally
from changeover.transport.control import encode
from changeover.transport.link import CONTROLLER, Frame, Kind
from changeover.transport.reports import Observations, Observed, OverGrpc, Paired, Tallied

_IN_A_FRAME = 4
"""Loadings in one report: so many fit a frame of the link, each with full histograms of two protocols."""


class Reporter:
    """Reports of one gateway.

    Args:
        models: what it serves.
        send: sends a frame to the supervisor.
        unrouted: counts errors of requests that came to no model.
    """

    def __init__(self, models: Models, send: Callable[[Frame], None], unrouted: Counter | None = None) -> None:
        self._models = models
        self._send = send
        self._unrouted = unrouted or Counter()
        self._lost = 0
        self._told: dict[int, tuple[int, ...]] = {}

    def report(self, word: int | None = None) -> None:
        """Tell what is new, of one model or of all. Histograms are long: only those with news are looked through.

        What is compared goes out together, for both arms of a step must be counted over the same time.
        """
        targets = [t for t in self._models.targets.values() if word is None or t.word == word]
        every = [*self._models.departed, *targets]
        self._models.departed.clear()
        changed = [t for t in every if self._is_news(t)]
        self._told = {n: counts for n, counts in self._told.items() if n in self._models.targets}
        tallies = [tally for t in every for tally in t.ledger.news()]
        now = monotonic_ns()
        for at in range(0, len(changed), _IN_A_FRAME):
            self._tell(Observations(now, [self._observed(t) for t in changed[at : at + _IN_A_FRAME]]))
        lost = sum(self._unrouted.errors.values())
        if lost != self._lost:
            self._lost = lost
            self._tell(Observations(now, [], unrouted=_errors(self._unrouted)))
        for tally in tallies:
            self._tell(Observations(now, [], [_tallied(tally)]))
        for model in self._models.by_name.values():
            for pairs in [m.pairs for m in model.mirrors if word in (None, model.word)]:
                if pairs.is_news():
                    self._tell(Observations(now, [], [], [_paired(pairs)]))

    def forget(self) -> None:
        """Whoever was told is gone: what steps have counted is told again, so that their evidence is not lost."""
        for target in self._models.targets.values():
            target.ledger.forget()
        for model in self._models.by_name.values():
            for mirror in model.mirrors:
                mirror.pairs.forget()

    def _tell(self, report: Observations) -> None:
        self._send(Frame(Kind.OBSERVED, encode(report), target=CONTROLLER))

    def _observed(self, target: Target) -> Observed:
        counter, batcher, grpc = target.counter, target.batcher, target.counter.grpc
        return Observed(
            target.loading,
            self._models.name_of(target.word),
            counter.requests,
            counter.failed,
            counter.shed,
            counter.sparse(),
            counter.shielded,
            batcher.busy_ns,
            batcher.instances,
            counter.seconds,
            None if grpc is None else OverGrpc(sparse(grpc.counts), grpc.seconds, grpc.shed),
            _errors(counter),
            target.leases,
            batcher.runs.ran(),
        )

    def _is_news(self, target: Target) -> bool:
        counter = target.counter
        counts = (
            counter.requests, counter.shed, counter.shielded, target.batcher.busy_ns, target.leases,
            sum(counter.errors.values()),
        )  # fmt: skip
        if self._told.get(target.loading) == counts:
            return False
        self._told[target.loading] = counts
        return True


def _errors(counter: Counter) -> list[tuple[str, str, str, int]]:
    return [(*key, count) for key, count in counter.errors.items()]


def _paired(pairs: PairCount) -> Paired:
    return Paired(
        pairs.loading, pairs.epoch, pairs.compared, pairs.flips, pairs.failures, pairs.dropped, sparse(pairs.errors),
        pairs.apart,
    )  # fmt: skip


def _tallied(tally: Tally) -> Tallied:
    return Tallied(
        tally.loading,
        tally.epoch,
        tally.member,
        tally.requests,
        tally.failures,
        tally.shielded,
        tally.spent,
        sparse(tally.latency),
        {1 << size: sparse(counts) for size, counts in tally.work.items()},
        tally.key_states(),
    )
