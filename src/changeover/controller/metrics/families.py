"""From the facts of one moment to the families of `/metrics`: names, labels, values. Pure.

Names follow Prometheus' conventions: base units, counters end in `_total`. What a name means is said in
docs/monitoring.md, whose table is compared with this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from changeover import __version__
from changeover.controller.metrics.gpu import Gpu
from changeover.controller.metrics.names import empty
from changeover.controller.metrics.processes import Process
from changeover.controller.metrics.snapshot import RolloutFacts, Snapshot, VersionFacts
from changeover.controller.metrics.totals import Total, Way
from changeover.controller.point import Spread
from changeover.protocol.exposition import Distribution, Family, LabelBook, Labels
from changeover.runtime.machine import Memory
from changeover.telemetry.observations import BUCKETS, GRPC, HTTP, LOWEST, PER_DOUBLING, bucket_middle

labels: Final = LabelBook()
_QUANTILES: Final = (0.5, 0.95, 0.99)
_POWERS: Final = range(-12, 6)
_EDGES: Final = tuple(2.0**power for power in _POWERS)
"""Powers of two, in seconds, of the classic buckets: 0.24 ms to 32 s. They are edges of ours, so counts are exact."""
_SIZES: Final = tuple(float(1 << n) for n in range(8))
_STAGES: Final = ("queue", "input", "infer", "output")


@dataclass(frozen=True, slots=True)
class Machine:
    """What was read from the kernel for a scrape: of processes, of the machine, of graphics processors."""

    processes: Mapping[int, Process]
    host: Memory
    limit: Memory
    gpus: list[Gpu]


def families(moment: Snapshot, machine: Machine) -> Iterable[Family]:
    """All of them, in a fixed order."""
    labels.turn()
    of = empty()
    roles = moment.counted.roles()
    for version in moment.versions:
        named = labels(model=version.model, version=version.version)
        _facts(of, named, version, machine)
        counted = {role: moment.counted.total((version.loading, role)) for role in roles.get(version.loading, ())}
        for role, total in ({version.role: Total()} | counted).items():
            if role == version.role or total.any:
                _traffic(of, version, role, total)
        _recent(of, version, moment.recent.get(version.loading, ()))
        in_flight = moment.counted.flying.get(version.loading, 0)
        of["requests_in_flight"].add(labels(model=version.model, version=version.version, role=version.role), in_flight)
        of["requests_mirrored"].add(named, moment.counted.mirrored.get(version.loading, 0))
    for (protocol, reason, fault), count in moment.counted.unrouted.items():
        of["unrouted_request_errors"].add(labels(protocol=protocol, reason=reason, fault=fault), count)
    for rollout in moment.rollouts:
        _rollout(of, rollout)
    _machine(of, moment, machine)
    return [family for family in of.values() if family.values or family.distributions]


def _traffic(of: Mapping[str, Family], version: VersionFacts, role: str, total: Total) -> None:
    """What a version has done in one role."""
    names = {"model": version.model, "version": version.version, "role": role}
    errors: dict[str, int] = {}
    for (protocol, reason, fault), count in total.errors.items():
        errors[protocol] = errors.get(protocol, 0) + count
        of["request_errors"].add(labels(**names, protocol=protocol, reason=reason, fault=fault), count)
    for protocol, way in ((HTTP, total.http), (GRPC, total.grpc)):
        spread = _latency(way)
        if protocol is HTTP or spread.count or way.shed or errors.get(protocol):
            by_way = labels(**names, protocol=protocol)
            of["requests"].add(by_way, spread.count + errors.get(protocol, 0))
            of["request_duration_seconds"].spread(by_way, spread)
            of["requests_shed"].add(by_way, way.shed)
    of["requests_shielded"].add(labels(**names), total.shielded)
    _, inferences, requests, *seconds = total.runs
    of["batch_size_rows"].spread(labels(**names), _sizes(total, inferences))
    for stage, spent in zip(_STAGES, seconds, strict=True):
        of["request_stage_seconds"].spread(labels(**names, stage=stage), Distribution(int(requests), spent))


def _latency(way: Way) -> Distribution:
    below = way.latency.reshape(-1, PER_DOUBLING).sum(1).cumsum().tolist()
    shown = below[_POWERS[0] - LOWEST - 1 : _POWERS[-1] - LOWEST]
    return Distribution(below[-1], max(way.seconds, 0.0), _EDGES, shown, way.latency)


def _sizes(total: Total, inferences: float) -> Distribution:
    below = [sum([n for rows, n in total.sizes.items() if rows <= most]) for most in _SIZES]
    return Distribution(sum(total.sizes.values()), inferences, _SIZES, below)


def _recent(of: Mapping[str, Family], version: VersionFacts, spreads: Iterable[Spread]) -> None:
    """Quantiles of the last seconds; none without an answer in them."""
    counts = np.zeros(BUCKETS, np.int64)
    for spread in spreads:
        spread.count(counts)
    reached = counts.cumsum()
    total = int(reached[-1])
    if not total:
        return
    names = {"model": version.model, "version": version.version, "role": version.role}
    for share in _QUANTILES:
        value = bucket_middle(int(reached.searchsorted(max(1, math.ceil(total * share)))))
        of["request_duration_recent_seconds"].add(labels(**names, quantile=f"{share:g}"), value)
    of["requests_recent"].add(labels(**names), total)


def _facts(of: Mapping[str, Family], of_version: Labels, version: VersionFacts, machine: Machine) -> None:
    named = labels(
        model=version.model, version=version.version, role=version.role, state=version.state, digest=version.digest
    )
    of["version_info"].add(named, 1)
    of["version_weight_ratio"].add(of_version, version.weight)
    if version.sequences is not None:
        of["sequences"].add(of_version, version.sequences)
    worker = version.worker
    if worker is None:
        return
    of["worker_restarts"].add(of_version, worker.restarts)
    of["worker_crash_loop"].add(of_version, int(worker.looping))
    if worker.load_seconds is not None:
        of["worker_session_load_seconds"].add(of_version, worker.load_seconds)
    process = machine.processes.get(worker.pid or 0)
    if process is not None:
        of["worker_resident_memory_bytes"].add(of_version, process.rss)
        of["worker_cpu_seconds"].add(of_version, process.cpu)
        if process.pss is not None:
            of["worker_proportional_memory_bytes"].add(of_version, process.pss)


def _rollout(of: Mapping[str, Family], rollout: RolloutFacts) -> None:
    one = labels(model=rollout.model, rollout=rollout.id)
    named = labels(
        model=rollout.model, rollout=rollout.id, source=rollout.source, target=rollout.target, reason=rollout.reason
    )
    of["rollout_info"].add(named, 1)
    of["rollout_phase"].add(labels(model=rollout.model, rollout=rollout.id, phase=rollout.phase), 1)
    of["rollout_step"].add(one, rollout.step)
    of["rollout_steps"].add(one, rollout.steps)
    of["rollout_step_held_seconds"].add(one, rollout.held)
    of["rollout_moved_timestamp_seconds"].add(one, rollout.moved)
    if rollout.verdict is not None:
        of["rollout_verdict"].add(labels(model=rollout.model, rollout=rollout.id, verdict=rollout.verdict), 1)


def _machine(of: Mapping[str, Family], moment: Snapshot, machine: Machine) -> None:
    of["build_info"].add(labels(version=__version__), 1)
    of["ready"].add(labels(), int(moment.ready))
    of["controller_term"].add(labels(), moment.term)
    numbers: dict[str, int] = {}
    for name, pid in moment.processes:
        process, number = machine.processes.get(pid), numbers.get(name, 0)
        numbers[name] = number + 1
        if process is not None:
            one = labels(process=name, number=str(number))
            of["process_resident_memory_bytes"].add(one, process.rss)
            of["process_cpu_seconds"].add(one, process.cpu)
    for what, memory in (("host", machine.host), (machine.limit.of, machine.limit)):
        one = labels(of=what)
        if what == "cgroup" or memory is machine.host:
            of["memory_limit_bytes"].add(one, memory.total)
            of["memory_available_bytes"].add(one, memory.free)
    for gpu in machine.gpus:
        one = labels(gpu=gpu.index, name=gpu.name)
        of["gpu_utilization_ratio"].add(one, gpu.busy)
        of["gpu_memory_used_bytes"].add(one, gpu.memory_used)
        of["gpu_memory_limit_bytes"].add(one, gpu.memory_total)
