"""Quantiles of the buckets against exact ones: ten distributions of latencies, 100,000 values each.

Two readers: the server's own (`percentile`, as in /metrics and the dashboard) and Prometheus' `histogram_quantile` over
the native histogram that /metrics gives, which interpolates inside a bucket.

    python benchmarks/quantiles.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from changeover.telemetry.observations import bucket, edge, percentile

SHARES = (0.5, 0.95, 0.99)
VALUES = 100_000
REACH = 0.02
Array = npt.NDArray[np.float64]


def distributions(rng: np.random.Generator) -> dict[str, Array]:
    """Seconds."""
    n = VALUES
    return {
        "constant": np.full(n, 0.0123),
        "uniform": rng.uniform(0.001, 0.1, n),
        "normal": np.abs(rng.normal(0.02, 0.002, n)),
        "exponential": rng.exponential(0.01, n),
        "log-normal": rng.lognormal(math.log(0.004), 0.8, n),
        "Pareto, heavy tail": (rng.pareto(1.5, n) + 1) * 0.002,
        "gamma": rng.gamma(2.0, 0.003, n),
        "two humps": np.where(rng.random(n) < 0.9, rng.normal(0.003, 0.0002, n), rng.normal(0.25, 0.01, n)).clip(1e-5),
        "Weibull": rng.weibull(0.6, n) * 0.005 + 2e-5,
        "microseconds": rng.lognormal(math.log(30e-6), 0.4, n),
    }


def interpolated(histogram: Mapping[int, int], share: float) -> float:
    """As Prometheus reads a native histogram: the rank's place inside its bucket, on the logarithmic scale."""
    rank, reached = share * sum(histogram.values()), 0
    for number in sorted(histogram):
        count = histogram[number]
        if reached + count >= rank:
            return edge(number + (rank - reached) / count)
        reached += count
    raise AssertionError("no such rank")


def main() -> None:
    rng = np.random.default_rng(7)
    for name, values in distributions(rng).items():
        histogram: dict[int, int] = {}
        for value in values.tolist():
            number = bucket(value)
            histogram[number] = histogram.get(number, 0) + 1
        exact = np.quantile(values, SHARES, method="inverted_cdf")
        ours = [percentile(histogram, share) or 0.0 for share in SHARES]
        theirs = [interpolated(histogram, share) for share in SHARES]
        errors = [abs(found / true - 1) for row in (ours, theirs) for found, true in zip(row, exact, strict=True)]
        figure = {
            "figure": f"p50, p95, p99 against exact ones: {name}",
            "met": bool(max(errors) <= REACH),
            "reach": f"within {REACH:.0%}",
            "worst_per_cent": round(max(errors[:3]) * 100, 2),
            "worst_native_per_cent": round(max(errors[3:]) * 100, 2),
            "p99_ms": round(float(exact[2]) * 1e3, 3),
        }
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
