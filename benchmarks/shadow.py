"""Does anybody feel the shadow? Every request is copied to a candidate that is ten times slower, and then killed.

    python benchmarks/shadow.py [PAIRS]

At half of the capacity, windows of 4 s without and with the mirror take turns; in the middle of each one with it the
candidate's worker is killed. Compared are the p99 of both; every answer is checked by value.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

from changeover.bench.figures import window_figures
from changeover.bench.process import BenchProcess
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from felt import Subject, capacity, counts, large, small
from rig import Server, emit, median, say, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.split import Tables

WINDOW = 4.0
SETTLE = 0.5
SHARE = 0.5
WARM = "rollout: {strategy: instant, undo_window: 1h, limits: {disagreement: 100%}}\n"
_WITHIN = 60.0


def main(pairs: int) -> None:
    """A model well below a millisecond, and one of some 15 ms."""
    for subject in (small(), large()):
        with tempfile.TemporaryDirectory() as folder:
            faults = Path(folder) / "faults.json"
            slow = {"kind": "slow", "factor": 10, "after": 200}
            faults.write_text(json.dumps({"models": {subject.name: {"2": slow}}}))
            with Server({subject.name: subject.versions[0]}, {subject.name: WARM}, ["--faults", str(faults)]) as server:
                _push(server, subject)
                measure(server, subject, pairs)


def _push(server: Server, subject: Subject) -> None:
    """The second version becomes active, with the first one warm; then the first one is made the active one."""
    rollout = server.push(subject.name, 2, subject.versions[1], WARM)
    until = time.monotonic() + _WITHIN
    while server.get(f"/v1/rollouts/{rollout}")["phase"] != "watching":
        assert time.monotonic() < until, "the second version does not serve"
        time.sleep(0.05)


def measure(server: Server, subject: Subject, pairs: int) -> None:
    """Windows in turn."""
    tables = Tables(server.process.pid)
    tables.split(subject.name, "1", "2", 0)
    expected = {"1": subject.expected[0]}
    spec = LoadSpec(
        subject.name, subject.inputs, expected, port=server.port, order=("1",), tolerance=subject.tolerance, fresh=0.05
    )
    found = capacity(spec)
    total = (2 * pairs + 1) * (WINDOW + SETTLE) + WINDOW
    load = replace(spec, mode="open", rate=SHARE * found, arrivals="poisson", duration_s=total, connections=64)
    windows: list[tuple[float, float]] = []
    worked = 0.0
    with BenchProcess(load) as bench:
        time.sleep(WINDOW)
        for number in range(pairs):
            say(f"shadow {subject.name}: pair {number + 1} of {pairs}")
            without = _window(tables, subject, 0)
            time.sleep(WINDOW)
            on = _window(tables, subject, 10_000)
            worker = _worker(server, subject)
            before = _used(worker)
            time.sleep(WINDOW / 2)
            if worker is not None:
                worked += max(_used(worker) - before, 0.0)
                worker.kill()
            time.sleep(WINDOW / 2)
            windows.append((without, on))
        bench.stop()
        result, records = bench.result(120), bench.records()
    whole, slow, killed = (_ratios(records, windows, *part) for part in ((0, 1), (0, 0.5), (0.5, 1)))
    ratio = median([on / without for without, on in whole])
    emit("shadow", met=ratio <= 1.2 and bool(result["clean"]) and worked > 0, model=subject.name, pairs=pairs,
         capacity=round(found), p99_without_ms=median([a for a, _ in whole]), p99_with_ms=median([b for _, b in whole]),
         ratio=ratio, ratio_slow=median([b / a for a, b in slow]), ratio_killed=median([b / a for a, b in killed]),
         candidate_cpu_s=round(worked, 2), reach="ratio <= 1.2, 0 failed", **counts(result))  # fmt: skip


def _ratios(
    records: Records, windows: list[tuple[float, float]], begin: float, end: float
) -> list[tuple[float, float]]:
    """p99 of a part of each pair of windows: without the mirror, and with it."""
    return [
        (window_figures(records, off + begin * WINDOW, off + end * WINDOW)["p99"],
         window_figures(records, on + begin * WINDOW, on + end * WINDOW)["p99"])
        for off, on in windows
    ]  # fmt: skip


def _window(tables: Tables, subject: Subject, mirror: int) -> float:
    """Switch the mirror; returns when its window begins."""
    tables.split(subject.name, "1", "2", 0, mirror=mirror)
    time.sleep(SETTLE)
    return time.monotonic()


def _worker(server: Server, subject: Subject) -> psutil.Process | None:
    """The candidate's; None between a death and the successor's being there."""
    for process in psutil.Process(server.process.pid).children(recursive=True):
        if " ".join(process.cmdline()).strip() == f"changeover: worker {subject.name}/2":
            return process
    return None


def _used(worker: psutil.Process | None) -> float:
    """Seconds of CPU."""
    return sum(worker.cpu_times()[:2]) if worker is not None and worker.is_running() else 0.0


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
    sys.exit(verdict())
