"""What it costs a gateway to count: each request, each batch, each report; the loop without the counting is taken off.

python benchmarks/observation.py
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from changeover.gateway.ticket import Batch, Ticket
from changeover.telemetry.observations import GRPC, HTTP, Counter, sparse
from changeover.telemetry.statistics import Runs
from changeover.telemetry.tally import Tally
from changeover.transport.control import encode
from changeover.transport.reports import Observations, Observed, OverGrpc

ROUNDS, TIMES = 15, 20_000


def batch_of(rows: int, tally: Tally | None) -> Batch:
    """Requests that were run together; with a tally they are evidence of a rollout."""
    ticket = SimpleNamespace(asker=SimpleNamespace(received=0.9), guard=None, tally=tally, key=None)
    return Batch([cast(Ticket, ticket)] * rows, rows, 1, begun=1.0, sent=1.001, wall_ns=1_000_000, cpu_ns=900_000)


def microseconds(call: Callable[[int], Any]) -> float:
    """Of one call, the best of some rounds: what disturbs a round is no cost of it."""
    best = []
    for work in (call, lambda _: None):
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for number in range(TIMES):
                work(number)
            took.append(time.perf_counter() - began)
        best.append(min(took))
    return (best[0] - best[1]) / TIMES * 1e6


def told(what: str, cost: float, reach: float | None) -> None:
    print(json.dumps({
        "figure": what, "met": reach is None or cost <= reach, "reach": f"<= {reach} µs" if reach else "-",
        "microseconds": round(cost, 3),
    }, ensure_ascii=False), flush=True)  # fmt: skip


def main() -> None:
    counter, tally, runs = Counter(), Tally(1, 1, 1), Runs()
    batch, judged = batch_of(32, None), batch_of(32, tally)
    latencies = [0.0003 * 1.001 ** (n % 4000) for n in range(TIMES)]
    told("a request over HTTP, outside of a rollout", microseconds(lambda n: counter.answered(latencies[n], HTTP)), 1.0)
    told("a request over gRPC, outside of a rollout", microseconds(lambda n: counter.answered(latencies[n], GRPC)), 1.0)

    def in_a_rollout(number: int) -> None:
        tally.answered(counter.answered(latencies[number], HTTP), None)

    told("a request over HTTP, in a rollout", microseconds(in_a_rollout), 1.0)
    told("an error", microseconds(lambda _: counter.erred(HTTP, "run_failed", "model")), 1.0)

    def in_a_step(_: int) -> None:
        judged.weigh()
        judged.count(runs, 1.002, 1.003)

    told("a batch of 32, outside of a rollout", microseconds(lambda _: batch.count(runs, 1.002, 1.003)), 5.0)
    told("a batch of 32, in a rollout", microseconds(in_a_step), 5.0)
    grpc = counter.grpc

    def report() -> bytes:
        part = None if grpc is None else OverGrpc(sparse(grpc.counts), grpc.seconds, grpc.shed)
        seen = Observed(1, "m", counter.requests, 0, 0, counter.sparse(), grpc=part, ran=runs.ran())
        return encode(Observations(1, [seen]))

    began = time.perf_counter()
    for _ in range(200):
        report()
    told("a report of one version, four a second", (time.perf_counter() - began) / 200 * 1e6, None)


if __name__ == "__main__":
    main()
