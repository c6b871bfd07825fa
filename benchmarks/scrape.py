"""What a scrape of many models takes, and whether clients feel it: 200 models with two versions each, all with traffic.

No 400 workers are started (they would need 20 GB here); the facts are made instead, with one process in the place of
all workers, and go through the same code as those of a server: reading the kernel's files, sums, quantiles, writing.
For the p99 a process of the controller's niceness does that once a second beside a server that is loaded and scraped.

    python benchmarks/scrape.py [ROUNDS]
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from load_threads import Load

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.controller.metrics.moments import moment

from changeover.controller.metrics.scrape import Scrape
from changeover.controller.metrics.snapshot import Snapshot
from changeover.demo import digits
from changeover.protocol.exposition import OPENMETRICS, PROTOBUF, TEXT
from changeover.testing.server import Server

MODELS = 200
REACH_MS = 100
TIMES = 15
WINDOW = 4.0
THREADS = 4
SLACK, SLACK_MS = 1.2, 3.0
NICE = 10


def main() -> None:
    if sys.argv[1:] == ["scraper"]:
        scrape_for_ever()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    for name, form in (("text", TEXT), ("openmetrics", OPENMETRICS), ("protobuf", PROTOBUF)):
        taken(name, form)
    felt(rounds)


def many() -> Snapshot:
    """The facts, with this process in the place of every worker."""
    made = moment(MODELS, 2, buckets=120)
    workers = [dataclasses.replace(v.worker, pid=os.getpid()) for v in made.versions if v.worker is not None]
    living = [dataclasses.replace(v, worker=worker) for v, worker in zip(made.versions, workers, strict=True)]
    return dataclasses.replace(made, versions=living)


def taken(name: str, form: str) -> None:
    """Time some scrapes of one form."""
    made, body = many(), b""
    took: list[float] = []
    worked: list[float] = []
    scrape = Scrape(lambda _: made, _looked)
    for _ in range(TIMES):
        began, busy = time.perf_counter(), time.process_time()
        body = scrape.written(made, form)
        took.append((time.perf_counter() - began) * 1e3)
        worked.append((time.process_time() - busy) * 1e3)
    median = statistics.median(took)
    told = {
        "figure": f"a scrape of {MODELS} models with two versions, {name}",
        "met": median <= REACH_MS,
        "reach": f"<= {REACH_MS} ms",
        "median_ms": round(median, 1),
        "fastest_ms": round(min(took), 1),
        "processor_ms": round(statistics.median(worked), 1),
        "kilobytes": len(body) // 1000,
        "samples": body.count(b"\n") if form != PROTOBUF else None,
    }
    print(json.dumps(told), flush=True)


async def _looked() -> None:
    """The facts are there."""


def scrape_for_ever() -> None:
    """Once a second, as the controller would."""
    os.nice(NICE)
    made = many()
    scrape = Scrape(lambda _: made, _looked)
    while True:
        scrape.written(made, TEXT)
        time.sleep(1.0)


def felt(rounds: int) -> None:
    """The p99 of clients in windows with scrapes and without, one after the other."""
    body = json.dumps({"inputs": [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": [0.5] * 784}]})
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        server.deploy("digits", digits.model_bytes("1"))
        found: dict[bool, list[float]] = {False: [], True: []}
        headers = {"content-type": "application/json"}
        with Load(server.http_port, "/v2/models/digits/infer", body.encode(), headers, THREADS) as load:
            for _ in range(rounds):
                for scraped in (False, True):
                    found[scraped].append(window(load, server.control_port if scraped else None))
    without, with_scrapes = (statistics.median(found[scraped]) for scraped in (False, True))
    told = {
        "figure": "p99 of clients while 200 models with two versions are scraped once a second",
        "met": with_scrapes <= max(SLACK * without, without + SLACK_MS),
        "reach": f"<= {SLACK} x without, or + {SLACK_MS:g} ms",
        "without_ms": round(without, 2),
        "with_ms": round(with_scrapes, 2),
        "rounds": rounds,
    }
    print(json.dumps(told), flush=True)


def window(load: Load, port: int | None) -> float:
    """The p99 of some seconds, milliseconds; with a port, the server is scraped and the other scraper runs."""
    scraper = subprocess.Popen([sys.executable, __file__, "scraper"]) if port is not None else None
    try:
        time.sleep(1.5)  # the scraper makes its facts
        began, first = time.monotonic(), len(load.answers)
        while time.monotonic() < began + WINDOW:
            if port is not None:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                    answer.read()
            time.sleep(1.0)
        took = sorted(seconds for _, seconds in load.answers[first:])
    finally:
        if scraper is not None:
            scraper.kill()
            scraper.wait()
    return took[int(len(took) * 0.99)] * 1e3


if __name__ == "__main__":
    main()
