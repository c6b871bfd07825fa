"""The facts of one moment, taken on the event loop in a few milliseconds; what is made of them is made elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from changeover.controller.fleet import Fleet
from changeover.controller.members import WorkerState
from changeover.controller.metrics.totals import Read
from changeover.controller.point import Spread
from changeover.controller.rollout_view import steps_of
from changeover.rollout.current import Current
from changeover.rollout.driver import Driver
from changeover.rollout.loading import Loading
from changeover.rollout.tables import weight_of
from changeover.transport.control import BUCKETS


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """The worker of a version.

    Attributes:
        restarts: how often another took its place.
        load_seconds: what its session took to load; None before that.
        looping: its workers die again and again.
    """

    pid: int | None
    restarts: int
    load_seconds: float | None
    looping: bool


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """A version that lives.

    Attributes:
        weight: its share of the model's routed requests, 0 to 1.
        sequences: that live there; None where it keeps none, or its slab was not looked at yet.
    """

    model: str
    version: str
    digest: str
    role: str
    loading: int
    state: str
    weight: float
    worker: WorkerFacts | None
    sequences: int | None = None


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """The last rollout of a model; `moved` is when it went into its phase or step, seconds since 1970."""

    model: str
    id: str
    source: str
    target: str
    phase: str
    step: int
    steps: int
    held: float
    moved: float
    verdict: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it.

    Attributes:
        counted: what the gateways have told.
        recent: what they told of the last seconds, by loading.
        processes: process ids by what they are, other than workers.
    """

    versions: list[VersionFacts]
    rollouts: list[RolloutFacts]
    counted: Read
    recent: Mapping[int, list[Spread]]
    processes: list[tuple[str, int]]
    ready: bool
    term: int


def taken(drivers: Iterable[Driver], fleet: Fleet, *, ready: bool, term: int, recent_ns: int) -> Snapshot:
    """The present moment; `recent_ns`: how far back the last seconds reach."""
    versions: list[VersionFacts] = []
    rollouts: list[RolloutFacts] = []
    for driver in drivers:
        live = list(driver.loader.live.values())
        numbers = Counter(loading.version for loading in live)
        versions += [_version(loading, driver, fleet, alone=numbers[loading.version] == 1) for loading in live]
        if driver.current is not None:
            rollouts.append(_rollout(driver.model, driver.current))
    gateways = [("gateway", g.pid) for _, g in sorted(fleet.gateways.items()) if g.pid is not None]
    processes = [*gateways, ("controller", os.getpid()), ("supervisor", os.getppid())]
    seen = fleet.observatory
    return Snapshot(versions, rollouts, seen.totals.read(), seen.recent(recent_ns), processes, ready, term)


def _version(loading: Loading, driver: Driver, fleet: Fleet, *, alone: bool) -> VersionFacts:
    worker, table = fleet.workers.get(loading.number), driver.switch.table
    slab = fleet.visits.known(loading.number)
    return VersionFacts(
        driver.model,
        str(loading.version) if alone else loading.name,
        loading.digest,
        driver.role(loading),
        loading.number,
        str(loading.state),
        weight_of(table, loading.number) / BUCKETS if table else 0.0,
        _worker(worker) if worker is not None else None,
        slab.live if slab is not None else None,
    )


def _worker(worker: WorkerState) -> WorkerFacts:
    measured = worker.status.measured if worker.status else None
    seconds = (measured.open_s or measured.load_s) if measured else None
    looping = worker.health is not None and worker.health[0].circuit != "closed"
    return WorkerFacts(worker.pid, max(worker.incarnations - 1, 0), seconds or None, looping)


def _rollout(model: str, current: Current) -> RolloutFacts:
    rollout, steps = current.rollout, steps_of(current.offer.plan)
    moments = current.history
    return RolloutFacts(
        model,
        current.id,
        rollout.source or "",
        rollout.target,
        str(rollout.phase),
        steps.index(rollout.step) + 1 if rollout.step in steps else 0,
        len(steps),
        current.held,
        datetime.fromisoformat(moments[-1]["at"]).timestamp() if moments else 0.0,
        current.ruling.verdict if current.ruling else None,
        rollout.reason or "",
    )
