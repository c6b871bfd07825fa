"""Many models in one server: start, memory and latency as they grow, and what loading a big one does to the others.

    python benchmarks/many_models.py [COUNT ...]

Each model is a CNN of the size of the package's digits. A steady low rate goes round all of them; memory is the sum
of the proportional set sizes of all processes. Then a model of 47 MB is pushed and loaded beside them, several times.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil

from changeover.bench.figures import latencies, percentiles
from changeover.bench.process import BenchProcess
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from changeover.demo import digits
from models import large_cnn
from probes import Round
from rig import Server, binary_body, emit, say, verdict

COUNTS = (1, 10, 25, 50)
ASKED = 5
RATE = 100.0
STEADY = 6.0
IDLE = 3.0
LOADS = 4
GAP = 1.5


def spec_for(name: str, port: int, rate: float, seed: int) -> LoadSpec:
    """A low rate for one of the models, each answer checked."""
    samples = digits.load_samples()
    right = samples.scores["1"]
    return LoadSpec(name, {digits.INPUT: samples.inputs()}, {"1": right}, port=port, rate=rate, arrivals="poisson",
                    tolerance=1e-3, duration_s=3600.0, seed=seed)  # fmt: skip


def memory(server: Server) -> dict[str, float]:
    """PSS in MB by kind of process, and of all."""
    found: dict[str, float] = {}
    supervisor = psutil.Process(server.process.pid)
    for process in [supervisor, *supervisor.children(recursive=True)]:
        kind = " ".join(process.cmdline()).removeprefix("changeover: ").split(" ")[0].split("/")[-1]
        found[kind] = found.get(kind, 0.0) + _pss(process.pid)
    return {kind: round(size, 1) for kind, size in found.items()} | {"all": round(sum(found.values()), 1)}


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def idle_share(server: Server) -> float:
    """Of one core, used by all processes while nobody asks anything."""
    before = _seconds(server)
    time.sleep(IDLE)
    return round((_seconds(server) - before) / IDLE, 4)


def _seconds(server: Server) -> float:
    supervisor = psutil.Process(server.process.pid)
    times = [p.cpu_times() for p in [supervisor, *supervisor.children(recursive=True)]]
    return sum(t.user + t.system for t in times)


def curve(count: int, big: list[bytes]) -> dict[str, float]:
    """One point: start a server with so many models, measure it idle and busy, load the big one beside them."""
    started = time.monotonic()
    with Server({f"m{n}": digits.model_bytes("1") for n in range(count)}) as server:
        start = time.monotonic() - started
        idle, share = memory(server), idle_share(server)
        asked = sorted({n * count // ASKED for n in range(ASKED)})
        spans: dict[str, list[tuple[float, float]]] = {"quiet": [], "busy": [], "loading": []}
        with ExitStack() as stack:
            specs = [spec_for(f"m{n}", server.port, RATE / len(asked), n) for n in asked]
            benches = [stack.enter_context(BenchProcess(spec)) for spec in specs]
            spans["quiet"].append(_span(STEADY))
            with all_busy(server, count) as others:
                spans["busy"].append(_span(STEADY))
            for number in range(LOADS):
                now = time.monotonic()
                assert server.finished(server.push("big", number + 1, big[number % 2]))["phase"] == "succeeded"
                spans["loading"].append((now, time.monotonic()))
                time.sleep(GAP)
            for bench in benches:
                bench.stop()
            results = [bench.result(60) for bench in benches]
            records = [bench.records() for bench in benches]
    p99 = {name: _p99(records, windows) for name, windows in spans.items()}
    clean = all(r["clean"] for r in results) and not others.failed
    ratio, added = round(p99["loading"] / p99["quiet"], 3), round(p99["loading"] - p99["quiet"], 3)
    emit("many_models", met=clean and (ratio <= 1.2 or added <= 3), models=count, start_s=round(start, 2),
         memory_mb=idle, idle_cpu=share, clean=clean, requests=sum(r["requests"] for r in results),
         p99_ms=p99["quiet"], p99_all_busy_ms=p99["busy"], p99_while_loading_ms=p99["loading"], ratio=ratio,
         added_ms=added, loading_s=round(sum(b - a for a, b in spans["loading"]), 2),
         reach="0 failed; p99 while 47 MB are loaded <= 1.2 x, or 3 ms more")  # fmt: skip
    return {"start_s": start, "memory_mb": idle["all"], "p99_ms": p99["quiet"]}


def all_busy(server: Server, count: int) -> Round:
    """Requests for every model in turn, 200 a second."""
    body, headers = binary_body(digits.INPUT, digits.load_samples().inputs()[:1])
    return Round(server.port, [f"/v2/models/m{n}/infer" for n in range(count)], body, headers, 0.005)


def _span(seconds: float) -> tuple[float, float]:
    now = time.monotonic()
    time.sleep(seconds)
    return now, time.monotonic()


def _p99(records: list[Records], windows: list[tuple[float, float]]) -> float:
    return percentiles(np.concatenate([latencies(r, *w) for r in records for w in windows]))["p99"]


def main(counts: list[int]) -> None:
    """The curve, and what one more model costs."""
    big = [large_cnn(1), large_cnn(2)]
    points = []
    for count in counts:
        say(f"many models: {count}")
        points.append(curve(count, big))
    if len(points) > 1:
        more = counts[-1] - counts[0]
        first, last = points[0], points[-1]
        each = {k: (last[k] - first[k]) / more for k in ("start_s", "memory_mb")}
        emit("one_more_model", met=each["start_s"] < 1.0, start_s=round(each["start_s"], 3),
             memory_mb=round(each["memory_mb"], 2), p99_ratio=round(last["p99_ms"] / first["p99_ms"], 3),
             reach="< 1 s a model")  # fmt: skip


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or list(COUNTS))
    sys.exit(verdict())
