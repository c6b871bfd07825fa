"""Changeovers at 0.9 of capacity: every request counted, every answer checked; then the switch in numbers.

    python benchmarks/changeovers.py [CHANGEOVERS] [SECONDS_BETWEEN] [--gateways N] [--grpc RATE] [--felt N]

The load is HTTP, with so many calls of gRPC a second beside it; the capacity is what HTTP has beside those calls,
measured again every 50 changeovers, for a machine that is shared is not as quick all the time. Then N further
changeovers at 0.6 of capacity, with the windows of `felt.py`, for both protocols.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from changeover.bench.figures import percentiles
from changeover.bench.process import BenchProcess
from felt import BEFORE, HALF, Subject, capacity, counts, measure, small, spec_for
from household import Household
from rig import PATIENT_S, Server, emit, median, say, verdict

SHARE = 0.9
STRETCH = 50


class Stretch(NamedTuple):
    """Changeovers under one load: what came of its requests, of its calls, and the capacity it was a share of."""

    capacity: float
    result: dict[str, Any]
    calls: dict[str, Any]
    switches: list[dict[str, Any]]


def main(changeovers: int, between: float, gateways: int, grpc_rate: float, felt: int) -> None:
    """Run and print."""
    subject = small()
    arguments = ["--gateways", str(gateways)] if gateways else []
    with Server({subject.name: subject.versions[0]}, arguments=arguments) as server:
        running = len(Household(server.process.pid, server.port).pids("gateway"))
        started = time.monotonic()
        stretches = []
        for first in range(0, changeovers, STRETCH):
            numbers = range(first, min(first + STRETCH, changeovers))
            stretches.append(stretch(server, subject, numbers, between, grpc_rate))
        seconds = time.monotonic() - started
        if felt:
            is_felt(server, subject, changeovers + 2, felt, grpc_rate)
    results, calls = [one.result for one in stretches], [one.calls for one in stretches]
    answered = len({version for result in results for version in result["versions"]})
    clean = all(result["clean"] for result in results)
    emit("changeovers", met=clean and answered == changeovers + 1, count=changeovers, seconds=round(seconds, 1),
         capacity=round(median([one.capacity for one in stretches])), share=SHARE,
         capacity_least=round(min(one.capacity for one in stretches)), versions_that_answered=answered, clean=clean,
         **{key: sum(counts(result)[key] for result in results) for key in counts(results[0])},
         shed=sum(result["shed"] for result in results), gateways=running,
         p50_ms=median([result["latency_ms"]["p50"] for result in results]),
         p99_ms=median([result["latency_ms"]["p99"] for result in results]),
         p99_ms_worst=max(result["latency_ms"]["p99"] for result in results),
         reach="0 failed, 0 wrong, 0 stale, 0 shed")  # fmt: skip
    if grpc_rate:
        lost = {key: sum(one[key] for one in calls) for key in ("failed", "wrong", "stale")}
        why = sorted({why for one in calls for why in one["why"]})
        emit("changeovers_grpc", met=not any(lost.values()), count=changeovers, rate=grpc_rate,
             requests=sum(one["requests"] for one in calls), **lost, why=why,
             p50_ms=median([one["p50_ms"] for one in calls]), p99_ms=median([one["p99_ms"] for one in calls]),
             reach="0, 0, 0")  # fmt: skip
    switches = [switch for one in stretches for switch in one.switches]
    acks = sorted(s["last_ack_ms"] for s in switches)
    stale = sum(s["stale_picks"] for s in switches)
    emit("switch", met=stale == 0 and median(acks) <= 5, count=len(switches), stale_picks=stale,
         last_ack_ms_p50=median(acks), last_ack_ms_max=acks[-1],
         store_ns_p50=median([s["store_ns"] for s in switches]),
         journal_ms_p50=median([s["journal_ms"] for s in switches]),
         prepare_ms_p50=median([s["prepare_ms"] for s in switches]),
         reach="0 stale picks, last acknowledgement p50 <= 5 ms")  # fmt: skip


def stretch(server: Server, subject: Subject, numbers: range, between: float, grpc_rate: float) -> Stretch:
    """The changeovers of these numbers, under 0.9 of what the server can do just now."""
    first, last = numbers[0] + 1, numbers[-1] + 2
    spec = replace(spec_for(subject, server.port, last), order=tuple(str(n) for n in range(first, last + 1)))
    with grpc_calls(server.grpc_port, subject.name, grpc_rate):
        found = capacity(spec)  # of what that client leaves: it takes its part of the cores
    load = replace(spec, mode="open", rate=SHARE * found, arrivals="poisson", duration_s=7200.0, connections=256,
                   keep_rows=False, timeout_s=PATIENT_S)  # fmt: skip
    rollouts = []
    with BenchProcess(load) as bench, grpc_calls(server.grpc_port, subject.name, grpc_rate) as calls:
        for number in numbers:
            rollout = server.push(subject.name, number + 2, subject.versions[(number + 1) % 2])
            assert server.finished(rollout)["phase"] == "succeeded"
            rollouts.append(rollout)
            time.sleep(between)
            if (number + 1) % 10 == 0:
                say(f"changeovers: {number + 1}; {round(SHARE * found):,}/s; {_so_far(bench)}")
        bench.stop()
        result = bench.result(PATIENT_S + 30)
    say(f"changeovers: to {numbers[-1] + 1}: {json.dumps(counts(result))}, gRPC {json.dumps(calls)}")
    time.sleep(6)  # a certificate needs the seconds after its switch; only those of the newest rollouts are kept
    return Stretch(found, result, calls, [server.certificate(r)["switch"] for r in rollouts])


def _so_far(bench: BenchProcess) -> str:
    """The load's last second, and what it has lost so far."""
    last = bench.progress
    if last is None:
        return "nothing sent yet"
    return f"{last['requests']:,} requests, {last['failed']} failed, {last['shed']} shed, p99 {last['p99_ms']} ms"


def is_felt(server: Server, subject: Subject, first: int, changeovers: int, grpc_rate: float) -> None:
    """p99 around so many changeovers beside p99 before them, of HTTP (printed as `felt`) and of the calls beside it."""
    switches: list[float] = []

    def change(number: int) -> None:
        version = first + number - 2
        rollout = server.push(subject.name, version, subject.versions[(version - 1) % 2])
        assert server.finished(rollout)["phase"] == "succeeded"
        switches.append(time.monotonic())

    spec = spec_for(subject, server.port, first + changeovers)
    mixed = replace(subject, name=f"{subject.name}, {grpc_rate:g} calls/s of gRPC beside")
    with TemporaryDirectory() as folder:
        times = Path(folder) / "times.npy"
        with grpc_calls(server.grpc_port, subject.name, grpc_rate, times):
            measure(mixed, spec, changeovers, change)
        if not grpc_rate:
            return
        due, taken = np.load(times)
    pairs = [
        [percentiles(taken[(due >= a) & (due < b)])["p99"] for a, b in windows] for windows in map(_both, switches)
    ]
    before, around = median([one for one, _ in pairs]), median([other for _, other in pairs])
    ratio, added = median([b / a for a, b in pairs]), median([b - a for a, b in pairs])
    emit("felt_grpc", met=ratio <= 1.2 or added <= subject.allowed_ms, changeovers=changeovers, rate=grpc_rate,
         p99_before_ms=before, p99_around_ms=around, ratio=ratio, added_ms=added,
         reach=f"ratio <= 1.2, or added <= {subject.allowed_ms} ms")  # fmt: skip


def _both(switch: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The window before a switch and the one around it, as in `felt.py`."""
    return (switch - HALF - BEFORE, switch - HALF), (switch - HALF, switch + HALF)


@contextmanager
def grpc_calls(port: int, model: str, rate: float, times: Path | None = None) -> Iterator[dict[str, Any]]:
    """Calls of gRPC inside the block; afterwards what came of them is in the dictionary, and their times in a file."""
    figures: dict[str, Any] = {}
    if not rate:
        yield figures
        return
    command = [sys.executable, str(Path(__file__).parent / "grpc_load.py"), str(port), model, str(rate)]
    command += [str(times)] if times is not None else []
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield figures
        figures |= json.loads(load.communicate(timeout=120)[0])
    finally:
        load.kill()
        load.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="changeovers.py")
    parser.add_argument("changeovers", type=int, nargs="?", default=100)
    parser.add_argument("seconds_between", type=float, nargs="?", default=0.3)
    parser.add_argument("--gateways", type=int, default=0, metavar="N", help="default: as the server")
    parser.add_argument("--grpc", type=float, default=200.0, metavar="RATE", help="calls a second; 0: HTTP only")
    parser.add_argument("--felt", type=int, default=10, metavar="N", help="changeovers at 0.6 of capacity; 0: none")
    given = parser.parse_args()
    main(given.changeovers, given.seconds_between, given.gateways, given.grpc, given.felt)
    sys.exit(verdict())
