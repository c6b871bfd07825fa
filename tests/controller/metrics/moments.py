"""Facts of a made moment: so many models with so many versions, each with traffic."""

from __future__ import annotations

from changeover.controller.metrics.families import Machine
from changeover.controller.metrics.processes import Process
from changeover.controller.metrics.snapshot import RolloutFacts, Snapshot, VersionFacts, WorkerFacts
from changeover.controller.metrics.totals import Totals
from changeover.controller.point import Point, Spread
from changeover.runtime.machine import Memory
from changeover.telemetry.statistics import Ran
from changeover.transport.reports import Observed, OverGrpc

ROLES = ("active", "candidate")
MACHINE = Machine({}, Memory(100, 60, "host"), Memory(50, 10, "cgroup"), [])


def moment(models: int = 1, versions: int = 2, *, gateways: int = 1, buckets: int = 100) -> Snapshot:
    """One of them; every histogram has so many buckets in use."""
    totals = Totals()
    roles = {m * versions + v: ROLES[v % 2] for m in range(models) for v in range(versions)}
    totals.role_of = lambda _, loading: roles[loading]
    facts: list[VersionFacts] = []
    recent: dict[int, list[Spread]] = {}
    for number in range(models * versions):
        model, version = f"model-{number // versions}", str(number % versions + 1)
        for gateway in range(gateways):
            point = Point.of(10**9, observed(number, model, buckets))
            totals.record(gateway, point)
            recent.setdefault(number, []).append(Spread(None, point))
        worker = WorkerFacts(1000 + number, 0, 0.25, looping=False)
        facts.append(VersionFacts(model, version, "ab" * 32, roles[number], number, "ready", 0.5, worker, 30 + number))
    rollouts = [
        RolloutFacts(f"model-{n}", "r-000001", "1", "2", "progressing", 2, 6, 12.5, 1.7e9, "waiting", "")
        for n in range(models)
    ]
    return Snapshot(facts, rollouts, totals.read(), recent, [("controller", 1)], True, 3)


def observed(loading: int, model: str, buckets: int = 100) -> Observed:
    """A report in which every bucket from 400 on has two answers, one of them over gRPC."""
    latency = {400 + n: 2 for n in range(buckets)}
    return Observed(
        loading, model, 2 * buckets, 1, 3, latency, 4, seconds=8.0,
        grpc=OverGrpc(dict.fromkeys(latency, 1), 3.0, 1),
        errors=[("http", "run_failed", "model", 5), ("grpc", "queue_full", "server", 1)],
        in_flight=6, ran=Ran(10, 40, 20, 1.0, 2.0, 3.0, 4.0, {4: 10}),
    )  # fmt: skip


def running(found: Snapshot) -> Machine:
    """A machine on which all of its workers live."""
    pids = [v.worker.pid for v in found.versions if v.worker is not None and v.worker.pid is not None]
    processes = {pid: Process(1000, 2.5, 900) for pid in pids}
    return Machine(processes | {1: Process(7, 0.5)}, MACHINE.host, MACHINE.limit, [])
