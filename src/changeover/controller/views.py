"""What the control API shows (pure): models and rollouts as JSON values."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

import msgspec
import psutil

from changeover.controller import rollout_view
from changeover.controller.events import sample
from changeover.controller.fleet import Fleet
from changeover.records.journal import Journal
from changeover.records.loadings import LoadingRecord
from changeover.records.rollouts import RolloutRecord
from changeover.records.versions import VersionRecord
from changeover.rollout.driver import Driver
from changeover.rollout.loading import Loading
from changeover.rollout.plan import RuntimePlan
from changeover.transport.control import WorkerHealth


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the journal knows of a model, and the digests of the artifacts that are there."""

    rollout: RolloutRecord | None
    loadings: list[LoadingRecord]
    versions: list[VersionRecord]
    sealed: frozenset[str]


def recorded(model: str, journal: Journal, sealed: frozenset[str], present: str | None = None) -> Recorded:
    """Read it. Not on the event loop: a commit on a slow disk holds the journal for as long as it takes.

    The rollout is the one that is `present`, though others may wait; without one it is the newest.
    """
    newest = [journal.rollouts.get(present)] if present else journal.rollouts.of(model, limit=1)
    loadings, versions = journal.loadings.of(model, limit=1000), journal.versions.of(model)
    return Recorded(newest[0] if newest else None, loadings, versions, sealed)


def model(driver: Driver, known: Recorded, fleet: Fleet) -> dict[str, Any]:
    """One model with its versions, newest first."""
    active, standby, candidate = driver.active, driver.standby, driver.candidate
    signature = active.entry.signature if active and active.entry else None
    return {
        "name": driver.model,
        "state": _state(driver, fleet),
        "epoch": driver.epoch,
        "active": str(active.version) if active else None,
        "standby": str(standby.version) if standby else None,
        "candidate": str(candidate.version) if candidate else None,
        "versions": _versions(driver, known, fleet),
        "inputs": msgspec.to_builtins(signature.inputs) if signature else [],
        "outputs": msgspec.to_builtins(signature.outputs) if signature else [],
        "runtime": _runtime(active.plan.runtime) if active else None,
        "rollout": msgspec.to_builtins(rollout_view.summary(known.rollout, driver)) if known.rollout else None,
    }


def _runtime(plan: RuntimePlan) -> dict[str, Any]:
    """Every option that is in force, those of the session that nobody set too."""
    session = msgspec.to_builtins(msgspec.structs.asdict(plan.session))
    return {**msgspec.to_builtins(plan), "session": session}


def _state(driver: Driver, fleet: Fleet) -> str:
    """`crash_loop`: the active version's workers die again and again, and requests are refused."""
    if driver.active is None:
        return "loading" if driver.candidate else "unavailable"
    worker = fleet.workers.get(driver.active.number)
    looping = worker is not None and worker.health is not None and worker.health[0].circuit != "closed"
    return "crash_loop" if looping else "ready"


def _versions(driver: Driver, known: Recorded, fleet: Fleet) -> list[dict[str, Any]]:
    """Every version ever seen, with the state of its newest loading; `removed` when its artifact is no more.

    `faults` are those that a rehearsal injects; a server of clients has none.
    """
    loadings = {(r.version, r.digest): r for r in reversed(known.loadings)}
    rows = []
    living = {(loading.version, loading.digest): loading for loading in driver.loader.live.values()}
    for record in reversed(known.versions):
        live = living.get((record.version, record.digest))
        last = loadings.get((record.version, record.digest))
        rows.append(
            {
                "version": str(record.version),
                "digest": record.digest,
                "name": f"{record.version}@{record.digest[:4]}",
                "source": record.source,
                "role": driver.role(live) if live else "none",
                "state": _version_state(live, last, sealed=record.digest in known.sealed),
                "reason": last.reason if last and not live else None,
                "detail": last.detail if last and not live else None,
                "worker": _worker(live, fleet) if live else None,
                "traffic": sample.traffic(live, fleet) if live else None,
                "faults": [fault.kind for fault in fleet.faults.of(driver.model, str(record.version))],
            }
        )
    return rows


def _version_state(live: Loading | None, last: LoadingRecord | None, *, sealed: bool) -> str:
    if live is not None:
        return live.state
    if not sealed:
        return "removed"
    return last.state if last else "new"


def _worker(loading: Loading, fleet: Fleet) -> dict[str, Any] | None:
    worker = fleet.workers.get(loading.number)
    if worker is None or (worker.pid is None and worker.health is None):
        return None
    resident_now = resident(worker.pid) if worker.pid is not None else 0
    told = {"pid": worker.pid, "rss_bytes": resident_now, "incarnation": worker.incarnations}
    return told | _health(*(worker.health or (WorkerHealth(loading.number), monotonic_ns())))


def _health(told: WorkerHealth, at_ns: int) -> dict[str, Any]:
    """The circuit; `next_try` in seconds from now while it is open."""
    waited = (monotonic_ns() - at_ns) / 1e9
    return {
        "circuit": told.circuit,
        "deaths": told.deaths,
        "last_death": {"cause": told.cause, "code": told.code} if told.cause else None,
        "next_try": round(max(0.0, told.wait - waited), 1) if told.circuit == "open" else None,
    }


def resident(pid: int) -> int:
    """Resident bytes of a process, 0 when it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
