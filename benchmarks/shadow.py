"""Does anybody feel the shadow? Every request is copied to a candidate that is ten times slower, and then killed.

    python benchmarks/shadow.py [--pairs N] [--models MODEL,...] [--append FILE]

At half of the capacity, windows of 4 s without and with the mirror take turns; in the middle of each one with it the
candidate's worker is killed. Compared are the p99 of both; every answer is checked by value. Ten pairs share a
load run; with --append those that FILE has already count, and the missing ones are added to it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from changeover.bench.figures import window_figures
from changeover.bench.process import BenchProcess
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from felt import Subject, capacity, counts, large, small
from kept import Kept
from rig import Server, emit, median, say, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.split import Tables

WINDOW = 4.0
SETTLE = 0.5
SHARE = 0.5
WARM = """\
rollout: {strategy: instant, undo_window: 1h, limits: {disagreement: 100%}}
gates: {performance: {enabled: false}}
"""
_WITHIN = 60.0
_AT_ONCE = 10
"""Pairs of one load run: what is lost when it is ended from outside."""
MODELS = {"small": small, "large": large}
"""A model well below a millisecond, and one of some 15 ms."""


def main(pairs: int, models: str, append: Path | None) -> None:
    """Measure what is missing, and print."""
    kept = Kept(append, {"bench": "shadow", "window_s": WINDOW, "share": SHARE})
    for made in [MODELS[name] for name in models.split(",")]:
        subject = made()
        had = len(_pairs(kept, subject.name))
        if had < pairs:
            began = time.monotonic()
            _measured(subject, pairs - had, kept)
            say(f"shadow {subject.name}: {pairs - had} pairs took {time.monotonic() - began:.0f} s")
        report(subject.name, pairs, kept)


def _measured(subject: Subject, pairs: int, kept: Kept) -> None:
    with tempfile.TemporaryDirectory() as folder:
        faults = Path(folder) / "faults.json"
        slow = {"kind": "slow", "factor": 10, "after": 200}
        faults.write_text(json.dumps({"models": {subject.name: {"2": slow}}}))
        with Server({subject.name: subject.versions[0]}, {subject.name: WARM}, ["--faults", str(faults)]) as server:
            _push(server, subject)
            measure(server, subject, pairs, kept)


def _push(server: Server, subject: Subject) -> None:
    """The second version becomes active, with the first one warm; then the first one is made the active one."""
    rollout = server.push(subject.name, 2, subject.versions[1], WARM)
    until = time.monotonic() + _WITHIN
    while (shown := server.get(f"/v1/rollouts/{rollout}"))["phase"] != "watching":
        assert time.monotonic() < until, f"the second version does not serve: {shown['reason']}, {shown['detail']}"
        time.sleep(0.05)


def measure(server: Server, subject: Subject, pairs: int, kept: Kept) -> None:
    """Load runs of some pairs each."""
    tables = Tables(server.process.pid)
    tables.split(subject.name, "1", "2", 0)
    expected = {"1": subject.expected[0]}
    spec = LoadSpec(
        subject.name, subject.inputs, expected, port=server.port, order=("1",), tolerance=subject.tolerance, fresh=0.05
    )
    found = capacity(spec)
    for done in range(0, pairs, _AT_ONCE):
        say(f"shadow {subject.name}: pair {done + 1} of {pairs}")
        several = min(_AT_ONCE, pairs - done)
        total = (2 * several + 1) * (WINDOW + SETTLE) + WINDOW
        load = replace(spec, mode="open", rate=SHARE * found, arrivals="poisson", duration_s=total, connections=64)
        kept.add({"model": subject.name, "capacity": round(found), **_run(server, subject, load, several)})


def _run(server: Server, subject: Subject, load: LoadSpec, pairs: int) -> dict[str, Any]:
    """Windows in turn: p99 of each without the mirror and with it, and of the latter's halves."""
    tables, windows, worked = Tables(server.process.pid), list[tuple[float, float]](), 0.0
    with BenchProcess(load) as bench:
        time.sleep(WINDOW)
        for _ in range(pairs):
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
    return {
        "whole": whole,
        "slow": slow,
        "killed": killed,
        "candidate_cpu_s": round(worked, 2),
        "clean": bool(result["clean"]),
        "counts": counts(result),
    }


def _pairs(kept: Kept, model: str) -> list[tuple[float, float]]:
    """p99 without and with the mirror, of every pair so far."""
    return [(a, b) for row in kept.rows if row["model"] == model for a, b in row["whole"]]


def report(model: str, pairs: int, kept: Kept) -> None:
    """One line of JSON."""
    mine = [row for row in kept.rows if row["model"] == model]
    whole = _pairs(kept, model)
    ratio = median([on / without for without, on in whole])
    parts = {part: median([b / a for row in mine for a, b in row[part]]) for part in ("slow", "killed")}
    told: Counter[str] = Counter()
    for row in mine:
        told.update(row["counts"])
    clean, worked = all(row["clean"] for row in mine), all(row["candidate_cpu_s"] > 0 for row in mine)
    emit("shadow", met=ratio <= 1.2 and clean and worked and len(whole) >= pairs, model=model, pairs=len(whole),
         capacity=[row["capacity"] for row in mine], p99_without_ms=median([a for a, _ in whole]),
         p99_with_ms=median([b for _, b in whole]), ratio=ratio, ratio_slow=parts["slow"], ratio_killed=parts["killed"],
         candidate_cpu_s=round(sum(row["candidate_cpu_s"] for row in mine), 2), reach="ratio <= 1.2, 0 failed",
         **told)  # fmt: skip


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
    parser = argparse.ArgumentParser(prog="shadow.py")
    parser.add_argument("--pairs", type=int, default=30, metavar="N")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--append", type=Path, metavar="FILE", help="keeps what was found, for the next piece")
    given = parser.parse_args()
    main(given.pairs, given.models, given.append)
    sys.exit(verdict())
