"""What a scrape of many models takes, from a made state: 200 models with two versions each, all with traffic.

No 400 workers are started (they would need 20 GB here); the facts are made instead, with one process in the place of
all workers, and go through the same code as those of a server: reading the kernel's files, sums, quantiles, writing.

    python benchmarks/scrape.py [MODELS] [GATEWAYS]
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import time

from tests.controller.metrics.moments import moment

from changeover.controller.metrics.scrape import Scrape
from changeover.protocol.exposition import OPENMETRICS, PROTOBUF, TEXT

REACH_MS = 100
ROUNDS = 15


def main() -> None:
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    gateways = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    made = moment(models, 2, gateways=gateways, buckets=120)
    live = [
        dataclasses.replace(v, worker=dataclasses.replace(v.worker, pid=os.getpid()))
        for v in made.versions
        if v.worker is not None
    ]
    made = dataclasses.replace(made, versions=live)
    scrape = Scrape(lambda _: made)
    for name, form in (("text", TEXT), ("openmetrics", OPENMETRICS), ("protobuf", PROTOBUF)):
        took, size = [], 0
        for _ in range(ROUNDS):
            began = time.perf_counter()
            body = scrape.written(made, form)
            took.append((time.perf_counter() - began) * 1e3)
            size = len(body)
        median = statistics.median(took)
        told = {
            "figure": f"a scrape of {models} models with two versions, {name}",
            "met": median <= REACH_MS,
            "reach": f"<= {REACH_MS} ms",
            "median_ms": round(median, 1),
            "slowest_ms": round(max(took), 1),
            "kilobytes": size // 1000,
            "samples": body.count(b"\n") if form != PROTOBUF else None,
            "gateways": gateways,
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
