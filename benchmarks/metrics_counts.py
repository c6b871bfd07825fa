"""Counts of /metrics against the load generator's own, while gateways are killed.

What a gateway has answered since its last report, a quarter of a second before at most, dies with it. Without kills
nothing is missing; that is the control.

    python benchmarks/metrics_counts.py [KILLS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

from changeover.demo import digits
from changeover.testing.server import Server
from changeover.testing.waiting import wait_for
from load_threads import Load

THREADS = 8
PAUSE = 2.0
REPORT = 0.25
NAMES = ("changeover_request_duration_seconds_count{", "changeover_requests_total{")


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    body = json.dumps({"inputs": [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": [0.5] * 784}]})
    missed = False
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), gateways=2) as server:
        server.deploy("digits", digits.model_bytes("1"))
        for count in (0, kills):
            missed |= not measured(server, body.encode(), count)
    return int(missed)


def measured(server: Server, body: bytes, kills: int) -> bool:
    """Some seconds of load with so many gateways killed; what both have counted."""
    before = scraped(server)
    with Load(server.http_port, "/v2/models/digits/infer", body, {"content-type": "application/json"}, THREADS) as load:
        for _ in range(kills):
            time.sleep(PAUSE)
            gateways = alive(server)
            server.named("gateway").kill()
            wait_for(lambda many=gateways: alive(server) == many, "the next gateway")
        time.sleep(PAUSE)
    time.sleep(1.0)
    answers, requests = (after - early for after, early in zip(scraped(server), before, strict=True))
    seconds = load.answers[-1][0] - load.answers[0][0]
    rate = len(load.answers) / seconds
    lost = len(load.answers) - answers
    bound = kills * (rate * REPORT * 1.2 + THREADS)  # a gateway may have had all of the traffic; a report may be late
    met = 0 <= lost <= bound if kills else lost == 0
    told = {
        "figure": f"answers in /metrics against the load generator's, {kills} gateways killed",
        "met": met,
        "reach": "equal" if not kills else "the loss is one report interval (0.25 s) of the killed at most",
        "load_generator": len(load.answers),
        "metrics": int(answers),
        "requests_total": int(requests),
        "missing": int(lost),
        "bound": int(bound),
        "cut": load.cut,
        "errors": load.errors,
        "per_second": round(rate),
    }
    print(json.dumps(told), flush=True)
    return met


def alive(server: Server) -> int:
    """How many gateways there are; one that ends right now is none."""
    found = 0
    for process in server.processes():
        try:
            found += "changeover: gateway" in " ".join(process.cmdline())
        except psutil.Error:
            continue
    return found


def scraped(server: Server) -> list[float]:
    """Good answers, and requests, of all versions and roles."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.control_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return [sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)) for name in NAMES]


if __name__ == "__main__":
    sys.exit(main())
