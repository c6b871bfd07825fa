"""The soak: changeovers at 0.9 of capacity, first undisturbed, then with a random kill every 30 s; one report.

    python benchmarks/soak.py [--duration 20m] [--gateways N] [--seed N] [--rate R] [--out FOLDER]

Traffic goes over kept and fresh connections, and every answer is checked by value. The capacity is measured before it
and again each minute, and the rate follows it, unless a rate is asked for. In the first part, at most 0.6 of
the time, up to 1,100 changeovers go by and nothing is killed: what lasts must not grow. In the second part workers,
controller, gateways and zygote are killed while changeovers go on. Figures come as JSON lines; the report is
FOLDER/soak.json and soak.html, the log of the server beside it. Ctrl-C ends it early, with the report so far.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import psutil

import changeover
import soak_figures
from changeover.bench.process import BenchProcess
from changeover.bench.spec import LoadSpec
from changing import Changer
from felt import capacity, small, spec_for
from household import Household, Leaving, Sampler
from killing import ROLES, Killer
from rig import PATIENT_S, Server, emit, say, verdict
from soak_figures import CHANGEOVERS, Evidence

SHARE = 0.9
KILL_EVERY = 30.0
RETRIES = 5
CONNECTIONS = 256
WARM = 0.1
"""Changeovers before the first footprint: thread pools fill up, and windows of minutes; neither grows for ever."""
PACE_EVERY = 60.0
"""Seconds after which the capacity is measured again: that of a shared machine changes by the minute."""
PACE_S = 2.0
PACE_CALLERS = 32
_HARDLY = 1.0
BEHIND_MS = 500.0
"""With a latency above this the next changeover waits: at 0.9 of capacity a backlog needs time to go away."""
MOST_WAIT = 5.0
OVERTIME = 60.0
"""In a short soak on a slow machine some role may not have had its turn when the time is over."""


class Soak:
    """One run: its server, load and evidence."""

    def __init__(self, evidence: Evidence, folder: Path) -> None:
        self.evidence = evidence
        self._folder = folder
        self._random = random.Random(evidence.seed)
        self._gateways = evidence.gateways
        self._bench: BenchProcess | None = None
        self._over = threading.Event()
        self._measuring = threading.Lock()
        self._pace_at = 0.0

    def run(self) -> None:
        """Measure the capacity, then both parts, then gather what was counted."""
        subject = small()
        arguments = ["--gateways", str(self._gateways)] if self._gateways else []
        with Server({subject.name: subject.versions[0]}, arguments=arguments) as server, ExitStack() as stack:
            server.keep_log = self._folder / "soak.log"
            self._household = Household(server.process.pid, server.port)
            self._name = subject.name
            self.evidence.gateways = len(self._household.pids("gateway"))
            self._spec = spec_for(subject, server.port, _most_versions(self.evidence.duration_s))
            self._changer = Changer(server, subject.name, subject.versions)
            self._leaving = stack.enter_context(Leaving())
            sampler = stack.enter_context(Sampler(self._household))
            try:
                with self._traffic(self._load()):
                    self._parts()
            finally:
                self.evidence.samples, self.evidence.ended = sampler.samples, self._leaving.ended
                self.evidence.changes = self._changer.changes

    def _load(self) -> LoadSpec:
        """Return the load: of the rate asked for, else at 0.9 of the capacity, which is measured now."""
        evidence = self.evidence
        if not evidence.rate:
            self._found(capacity(replace(self._spec, seed=evidence.seed)))
        say(f"soak: {evidence.rate:,.0f} requests/s, {evidence.gateways} gateways, seed {evidence.seed}")
        return replace(
            self._spec, mode="open", rate=evidence.rate, arrivals="poisson", duration_s=1e7, connections=CONNECTIONS,
            retries=RETRIES, keep_rows=False, timeout_s=PATIENT_S, seed=evidence.seed,
        )  # fmt: skip

    def _found(self, found: float) -> None:
        self.evidence.capacities.append((time.monotonic(), found))
        self.evidence.rate = SHARE * found
        self._pace_at = time.monotonic() + PACE_EVERY

    def _pace(self) -> None:
        """Now and then measure again what the machine can do, by as many callers as find most, and load it with that.

        The open loop hardly sends meanwhile; the callers' answers are checked like all others. Nothing is killed.
        """
        evidence, bench = self.evidence, self._bench
        if not evidence.capacities or bench is None or time.monotonic() < self._pace_at:
            return
        with self._measuring:
            bench.pace(_HARDLY)
            self._let_backlog_go(time.monotonic() + MOST_WAIT)
            callers = replace(
                self._spec, mode="closed", duration_s=PACE_S, connections=PACE_CALLERS, seed=evidence.seed
            )
            with BenchProcess(callers) as measured:
                result = measured.result(PATIENT_S + 30)
            if not result["clean"]:
                evidence.trouble.append("A measurement of the capacity met answers that were wrong or missing.")
            self._found(float(result["throughput"]))
            bench.pace(evidence.rate)

    @contextmanager
    def _traffic(self, spec: LoadSpec) -> Iterator[None]:
        """Traffic flows inside the block; its result is gathered whatever ends the block."""
        with BenchProcess(spec, on_progress=self._note) as bench:
            self._bench = bench
            self.evidence.started = time.monotonic()
            try:
                yield
            finally:
                bench.stop()
                self.evidence.result = bench.result(PATIENT_S + 30)
                self.evidence.breaks = bench.records().breaks

    def _note(self, progress: dict[str, Any]) -> None:
        kept = ("per_second", "p50_ms", "p99_ms", "requests", "failed", "shed", "wrong", "wrong_version", "retried")
        self.evidence.seconds.append({"at": time.monotonic(), **{key: progress[key] for key in kept}})

    # -- the two parts ---------------------------------------------------------------------------------------

    def _parts(self) -> None:
        evidence, start = self.evidence, self.evidence.started
        end = start + evidence.duration_s
        wanted = round(CHANGEOVERS * evidence.share)
        warm = max(3, round(wanted * WARM))
        self._changeovers(warm, start + evidence.duration_s * 0.15)
        evidence.footprints["before"] = self._quiet_footprint()
        self._changeovers(warm + wanted, start + evidence.duration_s * 0.6)
        evidence.undisturbed = len(self._changer.changes)
        evidence.footprints["after"] = self._quiet_footprint()
        killer = threading.Thread(target=self._kill, args=(end,), name="killer", daemon=True)
        killer.start()
        try:
            self._changeovers(10**6, end)
            killer.join(OVERTIME)
        finally:
            self._over.set()
            killer.join()
        evidence.footprints["end"] = self._quiet_footprint()

    def _changeovers(self, wanted: int, until: float) -> None:
        """One after the other, until so many succeeded in all, or until the time is over."""
        while self._changer.succeeded < wanted and time.monotonic() < until:
            change = self._changer.change()
            self._watch_worker(change.version)
            if change.version % 50 == 0:
                seconds = time.monotonic() - self.evidence.started
                say(f"soak: {seconds:.0f} s, {self._changer.succeeded} changeovers, {len(self.evidence.kills)} kills")
            self._let_backlog_go(until)
            self._pace()

    def _watch_worker(self, version: int) -> None:
        title = f"worker {self._name}/{version}"
        for pid, found in self._household.members().items():
            if found == title:
                self.evidence.workers[version] = pid
                self._leaving.watch(pid)

    def _let_backlog_go(self, until: float) -> None:
        until = min(until, time.monotonic() + MOST_WAIT)
        while time.monotonic() < until:
            progress = self._bench.progress if self._bench else None
            if progress is None or (progress["p99_ms"] is not None and progress["p99_ms"] < BEHIND_MS):
                return
            time.sleep(0.1)

    def _quiet_footprint(self) -> dict[str, Any]:
        """The least of some moments without a changeover, with every process in its place."""
        until = time.monotonic() + 30
        while time.monotonic() < until and not self._complete():
            time.sleep(0.2)
        found = []
        for _ in range(5):
            time.sleep(0.4)
            found.append(self._household.footprint())
        return min(found, key=lambda footprint: (footprint["descriptors"], footprint["rss_bytes"]))

    def _complete(self) -> bool:
        titles = [title.split()[0] for title in self._household.members().values()]
        counts = {role: titles.count(role) for role in ROLES}
        return counts == {"worker": 1, "controller": 1, "gateway": self.evidence.gateways, "zygote": 1}

    # -- kills -----------------------------------------------------------------------------------------------

    def _kill(self, end: float) -> None:
        """Kill one process every so often: each role once in random order, then again; all of them at least once."""
        every = min(KILL_EVERY, (end - time.monotonic()) / (2 * len(ROLES) + 1))
        order: list[str] = []
        killer = Killer(self._household, self._random, self._over)
        self.evidence.kills = killer.killed
        due = time.monotonic()
        while True:
            due += every
            owing = {killed.kill.role for killed in killer.killed} != set(ROLES)
            if (due > end - every / 2 and not owing) or self._over.wait(max(due - time.monotonic(), 0)):
                return
            order = order or self._random.sample(ROLES, len(ROLES))
            with self._measuring:
                killed = killer.kill(order.pop(), within=0.3)  # any moment of a changeover
            if killed is not None:
                at = killed.kill.at - self.evidence.started
                say(f"soak: {at:.0f} s, {killed.kill.role} {killed.kill.pid} killed")


def _most_versions(duration_s: float) -> int:
    """More than can go by, and no more than the records can name."""
    return min(200 + int(duration_s * 6), 30_000)


def seconds_of(text: str) -> float:
    """`90`, `90s`, `40m` or `8h` as seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90, 90s, 40m or 8h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def environment() -> dict[str, Any]:
    """What the figures depend on."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False,
                            cwd=Path(__file__).parent)  # fmt: skip
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "benchmarks/soak.py", *sys.argv[1:]]),
        "cores": len(os.sched_getaffinity(0)),
        "processor": model[1] if model else platform.machine(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "linux": platform.release(),
        "python": platform.python_version(),
        "changeover": changeover.__version__,
        "commit": commit.stdout.strip() or "-",
        **{name: version_of(name) for name in ("onnxruntime", "uvloop", "httptools", "numpy")},
    }


def write(evidence: Evidence, folder: Path) -> None:
    """Write the report and print its figures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(soak_figures.document(evidence), indent=1))
    (folder / "soak.html").write_text(soak_figures.html(evidence))
    for figure in soak_figures.figures(evidence):
        emit(**figure)
    say(f"soak: report in {folder / 'soak.html'} and soak.json")


def main() -> int:
    """Run, report, judge."""
    parser = argparse.ArgumentParser(prog="soak.py", description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=seconds_of, default=1200.0, metavar="20m")
    parser.add_argument("--gateways", type=int, default=0, metavar="N", help="default: as the server")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; default: 0.9 of the capacity")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    evidence = Evidence(arguments.duration, arguments.seed, arguments.gateways, environment(), rate=arguments.rate)
    try:
        Soak(evidence, arguments.out).run()
    except KeyboardInterrupt:
        evidence.stopped_early = True
        say("soak: ended early; the report is of what was seen so far")
    except TimeoutError as error:
        evidence.trouble.append(f"The soak was given up: {error}.")
    write(evidence, arguments.out)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
