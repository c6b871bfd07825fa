"""How many requests a second a server can answer: short closed-loop runs with more and more callers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from changeover.bench.generator import run_load
from changeover.bench.spec import LoadSpec

CALLERS = (8, 16, 32, 64)


def find_capacity(
    spec: LoadSpec, callers: Sequence[int] = CALLERS, stop: threading.Event | None = None
) -> dict[str, Any]:
    """Run `spec` as a closed loop once for each number of callers, `duration_s` each, after a short warm-up.

    The generator runs on the same machine, so this is the capacity of server and generator together.

    Returns:
        `capacity` (requests/s of the best run, failed ones not counted), its `connections`, and all `runs`.
    """
    stop = stop or threading.Event()
    base = replace(spec, mode="closed", requests=0, connections=callers[0])
    run_load(replace(base, duration_s=min(0.5, spec.duration_s)), stop)
    results = [run_load(replace(base, connections=n), stop).result for n in callers if not stop.is_set()]
    best = max(results, key=lambda result: float(result["throughput"]), default=None)
    return {
        "kind": "capacity",
        "capacity": best["throughput"] if best else 0.0,
        "connections": best["connections"] if best else 0,
        "clean": bool(results) and all(result["clean"] for result in results),
        "runs": results,
    }
