"""Overload: two and five times what a model can do, and what others notice of it.

    python benchmarks/overload.py [SECONDS]

An open loop: requests come whatever became of the ones before. Capacity is measured first, by a closed loop. Beside
the flood a witness asks the same model 20 times a second, before, meanwhile and after, and somebody asks for health.
The tiny model's limit is the gateway itself, which shares two cores with the load generator: its figures are reported
and have no limit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from changeover.bench.figures import latencies, percentiles
from changeover.bench.process import BenchProcess
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from felt import capacity, large, small, spec_for
from models import large_cnn
from probes import Poller, hostile
from rig import Server, emit, say, verdict

WITNESS_RATE = 20.0
QUIET = 4.0
AFTER = 5.0
DEADLINE = 2.0
ROUNDS = 4
ROUND = 4.0
CALM = 1.5


def worker_bound(port: int) -> LoadSpec:
    """A CNN of 12 MB and about 2 ms a row however many go together: its worker is the limit."""
    import onnxruntime as ort

    x = np.random.default_rng(3).random((4, 128, 4, 4), np.float32)
    session = ort.InferenceSession(model(), providers=["CPUExecutionProvider"])
    right = session.run(None, {"x": x})[0]
    headers = (("changeover-timeout", str(DEADLINE)),)
    return LoadSpec("cnn", {"x": x}, {"1": right}, port=port, tolerance=1e-2, connections=4096, headers=headers)


def model() -> bytes:
    """Of `worker_bound`."""
    return large_cnn(1, layers=20, channels=128, side=4)


def slow(port: int) -> LoadSpec:
    """A CNN of 47 MB and some 10 ms a row: even its flood is few requests, so that the two cores can carry all."""
    subject = large()
    spec = replace(spec_for(subject, port, 0), fresh=0.0, connections=4096)
    return replace(spec, headers=(("changeover-timeout", str(DEADLINE)),))


def flood(server: Server, spec: LoadSpec, found: float, factor: int, seconds: float) -> None:
    """One flood of `factor` times the capacity `found`, with a witness, health and control beside it."""
    witness = replace(spec, rate=WITNESS_RATE, arrivals="poisson", duration_s=3600.0, connections=256, seed=7)
    load = replace(spec, rate=factor * found, arrivals="poisson", duration_s=seconds)
    with (
        BenchProcess(witness) as watching,
        Poller(server.port, "/v2/health/live", 0.02) as health,
        Poller(server.control, "/v1/models", 0.2) as control,
    ):
        time.sleep(QUIET)
        with BenchProcess(load) as bench:
            result = bench.result(seconds + 60)
            records = bench.records()
        began = float(result["started_monotonic"])
        time.sleep(max(0.0, began + seconds + AFTER - time.monotonic()))
        watching.stop()
        watching.result(60)
        seen = watching.records()
    shed, other = sheds(records)
    goodput = good_rate(records, began + 1.0, began + seconds) / found
    shed_ms = percentiles(shed[shed[:, 0] > 0][:, 1]) if len(shed) else {}
    normal = normal_after(seen, began, began + seconds)
    met = goodput >= 0.9 and shed_ms.get("p99", 0.0) <= 50 and normal <= 2 and not other
    met = met and not health.failed and not control.failed
    emit("overload", met=met, times_capacity=factor, capacity=round(found), goodput=round(goodput, 3),
         offered=len(records), shed=len(shed), other_failures=other, wrong=result["wrong"],
         shed_p99_ms=shed_ms.get("p99"), shed_max_ms=shed_ms.get("max"),
         accepted_p99_ms=result["latency_ms"].get("p99"),
         back_to_normal_s=round(normal, 2), health=health.figures(), control=control.figures(),
         reach="goodput >= 0.9, shed p99 <= 50 ms, normal <= 2 s after, 0 other failures")  # fmt: skip


def sheds(records: Records) -> tuple[np.ndarray, dict[str, int]]:
    """Times of the answers with 503 (one row each: sent, seconds from due to answer), and what else failed."""
    chosen = records.column("status") == 503
    due, received = records.column("due")[chosen], records.column("received")[chosen]
    other = {what: count for what, count in records.failures().items() if not what.startswith("503 queue_")}
    return np.stack([records.column("sent")[chosen], received - due], axis=1), other


def good_rate(records: Records, start: float, stop: float) -> float:
    """Right answers within the deadline, a second, by when they came."""
    received = records.column("received")
    good = (records.column("outcome") == 0) & (received - records.column("due") <= DEADLINE)
    return float((good & (received >= start) & (received < stop)).sum()) / (stop - start)


def normal_after(witness: Records, began: float, ended: float) -> float:
    """Seconds after a flood from which on every request of the witness goes as before it."""
    due, taken = witness.column("due"), witness.column("received") - witness.column("due")
    before = taken[(due < began - 0.5) & (witness.column("outcome") == 0)]
    usual = max(3 * float(np.quantile(before, 0.99)), 0.02)
    late = due[(due >= ended) & ((taken > usual) | (witness.column("outcome") != 0))]
    return float(late.max() - ended) if len(late) else 0.0


def fairness(server: Server, spec: LoadSpec, *, crowded: bool) -> None:
    """Another model's p99: alone, beside this one at 0.9 of its capacity, and beside its flood; in turns.

    Where the flood is thousands of requests a second, the one who sends them takes most of a core: worker, gateway and
    both load generators want more than the two there are (`crowded`), and the ratio tells of the machine.
    """
    found = capacity(replace(spec, headers=()))
    other = small()
    asked = replace(spec_for(other, server.port, 0), mode="open", rate=150.0, arrivals="poisson", duration_s=3600.0,
                    connections=64)  # fmt: skip
    windows: dict[str, list[tuple[float, float]]] = {"alone": [], "busy": [], "flood": []}
    rates = {"busy": 0.9 * found, "flood": 5 * found}
    with BenchProcess(asked) as bench:
        time.sleep(CALM)
        for number in range(ROUNDS):
            for name, spans in windows.items():
                with beside(spec, rates.get(name)):
                    time.sleep(CALM)
                    spans.append((time.monotonic(), time.monotonic() + ROUND))
                    time.sleep(ROUND)
                time.sleep(CALM)  # what the flood left in the queue
            say(f"overload: fairness {number + 1} of {ROUNDS}")
        bench.stop()
        clean = bool(bench.result(60)["clean"])
        records = bench.records()
    p99 = {n: percentiles(np.concatenate([latencies(records, *span) for span in s]))["p99"] for n, s in windows.items()}
    ratio = round(p99["flood"] / p99["alone"], 3)
    emit("fairness_crowded" if crowded else "fairness", met=clean and ratio <= 1.3, flooded=spec.model,
         flood_per_s=round(5 * found), other=other.name, rounds=ROUNDS, clean=clean,
         p99_alone_ms=p99["alone"], p99_beside_busy_ms=p99["busy"], p99_beside_flood_ms=p99["flood"], ratio=ratio,
         ratio_to_busy=round(p99["flood"] / p99["busy"], 3), reach="ratio <= 1.3")  # fmt: skip


@contextmanager
def beside(spec: LoadSpec, rate: float | None) -> Iterator[None]:
    """Load of this rate, or none, for as long as the block runs."""
    if rate is None:
        yield
        return
    with BenchProcess(replace(spec, rate=rate, arrivals="poisson", duration_s=60.0)) as bench:
        yield
        bench.stop()
        bench.result(60)


def bad_company(server: Server, spec: LoadSpec, found: float) -> None:
    """1,000 idle connections, 100 half-open and 100 slow ones beside traffic at half the capacity."""
    load = replace(spec, rate=0.5 * found, arrivals="poisson", duration_s=5.0, connections=256)
    taken = []
    for number in (0, 1):
        with hostile(server.port, 1000 * number, 100 * number, 100 * number), BenchProcess(load) as bench:
            result = bench.result(60)
            taken.append(result)
    alone, among = (r["latency_ms"]["p99"] for r in taken)
    emit("bad_company", met=all(r["clean"] for r in taken), idle=1000, half_open=100, slow=100, p99_alone_ms=alone,
         p99_ms=among, ratio=round(among / alone, 3), failed=taken[1]["failed"], reach="0 failed")  # fmt: skip


def tiny(server: Server, seconds: float) -> None:
    """The gateway is the limit: it can shed little more than it can serve. Reported, without a limit."""
    spec = replace(spec_for(small(), server.port, 0), fresh=0.0)
    found = capacity(spec)
    for factor in (2, 5):
        load = replace(spec, mode="open", rate=factor * found, duration_s=seconds, connections=256, timeout_s=5.0)
        with Poller(server.port, "/v2/health/live", 0.02) as health, BenchProcess(load) as bench:
            result = bench.result(seconds + 60)
            records = bench.records()
        began = float(result["started_monotonic"])
        goodput = good_rate(records, began + 1.0, began + seconds) / found
        sent = records.column("sent")[records.column("outcome") == 0]
        service = records.column("received")[records.column("outcome") == 0] - sent
        emit("overload_tiny", met=not health.failed, times_capacity=factor, capacity=round(found),
             goodput=round(goodput, 3), sent=int((records.column("status") > 0).sum()), wrong=result["wrong"],
             failures=result["failures"], from_sent_p99_ms=percentiles(service).get("p99"), health=health.figures(),
             reach="reported: the load generator has the other core")  # fmt: skip


def main(seconds: float) -> None:
    """Run and print."""
    other, heavy = small(), large()
    with Server({"cnn": model(), other.name: other.versions[0], heavy.name: heavy.versions[0]}) as server:
        spec = worker_bound(server.port)
        for factor in (2, 5):
            found = capacity(replace(spec, headers=()))  # anew each time: a shared machine is not always as fast
            say(f"overload: capacity {found:.0f}/s")
            flood(server, spec, found, factor, seconds)
        fairness(server, slow(server.port), crowded=False)
        fairness(server, spec, crowded=True)
        bad_company(server, spec, found)
        tiny(server, seconds / 2)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
    sys.exit(verdict())
