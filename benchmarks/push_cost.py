"""What a push costs: processor time by process, and where the seconds go, idle, at 0.9 of capacity and saturated.

    python benchmarks/push_cost.py [PUSHES] [--gateways N] [--loads idle,0.9,saturated]

Version after version of the small CNN with all gates, as the soak pushes them. `cpu_ms` is what a push took of a core:
of controller, supervisor and zygote all they used meanwhile; of prover and new worker all until the rollout's end.
With clients the gateways' and workers' own time is their traffic's and is left out. The parts of the way are those of
the certificate, in seconds on the clock.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from changeover.bench.process import BenchProcess
from changing import Changer
from felt import capacity, small, spec_for
from rig import Server, emit, median, say, verdict

EVERY = 0.005
REST = 0.1
LASTING = ("supervisor", "controller", "zygote")
PARTS = ("verify_s", "load_s", "warmup_s", "gates_s", "open_s")
REACH_S = 1.2
"""Seconds that leave room for 1,000 changeovers in a soak of 20 minutes."""


class Meter:
    """A thread that reads what each process of a server has used of the processor."""

    def __init__(self, supervisor: int) -> None:
        self._supervisor = supervisor
        self._seconds: dict[int, float] = {}
        self._titles: dict[int, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def used(self) -> Counter[str]:
        """Seconds of a core so far by role; of those that have ended, when they were last seen."""
        found: Counter[str] = Counter()
        for pid, title in list(self._titles.items()):
            found[title.split()[0]] += self._seconds.get(pid, 0.0)
        return found

    def _run(self) -> None:
        me = self._supervisor
        while not self._stop.wait(EVERY):
            for pid in (me, *map(int, Path(f"/proc/{me}/task/{me}/children").read_text().split())):
                self._look(pid)

    def _look(self, pid: int) -> None:
        """One process; what stands by, or was just forked, has no title of its own yet."""
        title = self._titles.get(pid, "zygote")
        try:
            if title in ("zygote", "spare") or title.endswith("/"):
                told = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode().strip()
                title = told.removeprefix("changeover: ") if told.startswith("changeover: ") else "supervisor"
                self._titles[pid] = title
            self._seconds[pid] = max(self._seconds.get(pid, 0.0), processor_time(pid))
        except OSError:
            return  # it has ended


def processor_time(pid: int) -> float:
    """Seconds of a core that the living threads of a process have used; 0 when it is gone."""
    spent = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            spent += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    except OSError:
        return 0.0
    return spent / 1e9


@contextmanager
def traffic(spec: Any, load: str) -> Iterator[dict[str, Any]]:
    """Clients beside the block: none, a share of the capacity (open loop), or as many requests as go (closed loop).

    What became of their requests is in the dictionary after the block.
    """
    found: dict[str, Any] = {"clean": True}
    if load == "idle":
        yield found
        return
    if load == "saturated":
        wanted = replace(spec, mode="closed", duration_s=1e6)
    else:
        rate = float(load) * capacity(spec)
        wanted = replace(spec, mode="open", rate=rate, arrivals="poisson", connections=256, duration_s=1e6,
                         keep_rows=False, timeout_s=120.0)  # fmt: skip
    with BenchProcess(wanted) as bench:
        time.sleep(2)
        yield found
        bench.stop()
        found.update(bench.result(120))


def measure(load: str, pushes: int, gateways: int) -> None:
    """Push so often beside a load, and print the figures."""
    subject = small()
    arguments = ["--gateways", str(gateways)] if gateways else []
    with Server({subject.name: subject.versions[0]}, arguments=arguments) as server:
        spec = spec_for(subject, server.port, pushes + 5)
        changer = Changer(server, subject.name, subject.versions)
        with traffic(spec, load) as clients, Meter(server.process.pid) as meter:
            changer.change()  # the first has no graph in the cache
            changer.change()
            before = meter.used()
            for number in range(pushes):
                time.sleep(REST)
                change = changer.change()
                say(f"push_cost: {load}, {number + 1} of {pushes}: {change.ended - change.began:.2f} s, {change.phase}")
            after = meter.used()
        clean = bool(clients["clean"])
        changes = changer.changes[2:]
        for change in changes:
            if change.phase != "succeeded":
                say(f"push_cost: {server.get(f'/v1/rollouts/{change.rollout}')}")
        good = [change.rollout for change in changes if change.phase == "succeeded"]
        parts = [_parts(server.certificate(rollout)) for rollout in good]
    took = [change.ended - change.began for change in changes]
    emit("push_cost", met=median(took) <= REACH_S and clean and len(good) == pushes, load=load,
         pushes=pushes, succeeded=len(good), median_s=median(took),
         worst_s=round(max(took), 3), cpu_ms=_costs(before, after, pushes, idle=load == "idle"), clean=clean,
         parts_s={part: median([one[part] for one in parts]) for part in PARTS}, reach_s=REACH_S)  # fmt: skip


def _parts(certificate: Any) -> dict[str, float]:
    numbers: dict[str, float] = next(s for s in certificate["steps"] if s["name"] == "validating")["numbers"]
    return numbers


def _costs(before: Counter[str], after: Counter[str], pushes: int, *, idle: bool) -> dict[str, float]:
    """Milliseconds of a core by role and push."""
    roles = [role for role in sorted(after) if idle or role in (*LASTING, "prover")]
    found = {role: round(1e3 * (after[role] - before[role]) / pushes, 1) for role in roles}
    return {**found, "all": round(sum(found.values()), 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="push_cost.py")
    parser.add_argument("pushes", type=int, nargs="?", default=20)
    parser.add_argument("--gateways", type=int, default=2, metavar="N")
    parser.add_argument("--loads", default="idle,0.9,saturated")
    given = parser.parse_args()
    for name in given.loads.split(","):
        measure(name, given.pushes, given.gateways)
    sys.exit(verdict())
