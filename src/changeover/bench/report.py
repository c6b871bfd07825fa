"""The documents of a run: one line a second while it goes on, one result at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from changeover.bench.check import Outcome
from changeover.bench.figures import Switch, latencies, percentiles, switches
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from changeover.bench.totals import Totals


@dataclass(slots=True)
class RunTimes:
    """When a run began and what it took.

    Attributes:
        start: `time.monotonic` at the first due time.
        elapsed: seconds until the last answer.
        cpu_share: of one core, used by the generator.
    """

    wall: datetime
    start: float
    cpu: float
    elapsed: float = 0.0
    cpu_share: float = 0.0

    @classmethod
    def begin(cls) -> RunTimes:
        """Take the present moment as the start."""
        return cls(datetime.now(UTC), time.monotonic(), time.process_time())

    def end(self) -> RunTimes:
        """Take the present moment as the end."""
        self.elapsed = max(time.monotonic() - self.start, 1e-9)
        self.cpu_share = (time.process_time() - self.cpu) / self.elapsed
        return self


def progress_document(records: Records, seen: int, elapsed: float) -> dict[str, Any]:
    """Describe the requests that ended since row `seen` (about one second's), and the totals so far."""
    outcome = records.column("outcome", seen)
    taken = (records.column("received", seen) - records.column("due", seen))[outcome < Outcome.FAILED]
    found = percentiles(taken)
    return {
        "kind": "progress",
        "elapsed_s": round(elapsed, 3),
        "per_second": len(outcome),
        "p50_ms": found.get("p50"),
        "p99_ms": found.get("p99"),
        "versions": _versions(records, seen),
        "requests": sum(records.counts),
        **_counts(records),
    }


def result_document(spec: LoadSpec, records: Records, times: RunTimes, totals: Totals | None = None) -> dict[str, Any]:
    """Return the one JSON document of a finished run; `totals` stand for rows that were not kept."""
    found = totals.switches() if totals else switches(records, spec.order)
    counts = _counts(records) | {"stale": sum(switch.stale for switch in found)}
    bad = sum(counts.values()) - counts["ok"] - counts["retried"]
    requests = sum(records.counts)
    answered = requests - records.counts[Outcome.FAILED] - records.counts[Outcome.SHED]
    return {
        "kind": "result",
        **_load(spec),
        "started": times.wall.isoformat().replace("+00:00", "Z"),
        "started_monotonic": times.start,
        "elapsed_s": round(times.elapsed, 3),
        "clean": bad == 0 and requests > 0,
        "checked": bool(spec.expected),
        "requests": requests,
        **counts,
        "throughput": round(answered / times.elapsed, 1),
        **(totals.figures() if totals else _figures(records)),
        "switches": [_switch(switch, times.start) for switch in found],
        "generator_cpu": round(times.cpu_share, 3),
    }


def _switch(switch: Switch, start: float) -> dict[str, Any]:
    return {
        "from": switch.old,
        "to": switch.new,
        "at_s": round(switch.at - start, 4),
        "last_old_s": round(switch.last_old - start, 4),
        "stale": switch.stale,
    }


def _figures(records: Records) -> dict[str, Any]:
    """Return what needs the row of every request; `Totals.figures` gives the same without."""
    taken = records.column("received") - records.column("due")
    return {
        "failures": records.failures(),
        "latency_ms": percentiles(latencies(records)),
        "shed_ms": percentiles(taken[records.column("outcome") == Outcome.SHED]),
        "send_delay_ms": percentiles(records.column("sent") - records.column("due")),
        "versions": _version_figures(records),
    }


def _load(spec: LoadSpec) -> dict[str, Any]:
    """Describe what was asked for."""
    return {
        "model": spec.model,
        "url": f"http://{spec.host}:{spec.port}",
        "mode": spec.mode,
        "rate": spec.rate if spec.mode == "open" else None,
        "arrivals": spec.arrivals if spec.mode == "open" else None,
        "connections": spec.connections,
        "form": "binary" if spec.binary else "json",
        "fresh": spec.fresh,
    }


def _counts(records: Records) -> dict[str, int]:
    """Requests by outcome; `retried`: how many were sent again after their connection was cut."""
    counts = {member.name.lower(): records.counts[member] for member in Outcome}
    return counts | {"retried": sum(cut.retried for cut in records.breaks)}


def _versions(records: Records, seen: int) -> dict[str, int]:
    """Count the answers of each version since row `seen`."""
    versions = records.column("version", seen)
    found = np.bincount(versions[versions >= 0], minlength=len(records.versions)).tolist()
    return {name: count for name, count in zip(records.versions, found, strict=True) if count}


def _version_figures(records: Records) -> dict[str, dict[str, Any]]:
    """Return answers and latency percentiles by version."""
    versions = records.column("version")
    taken = records.column("received") - records.column("due")
    return {
        name: {"answers": int((versions == i).sum()), "latency_ms": percentiles(taken[versions == i])}
        for i, name in enumerate(records.versions)
    }
