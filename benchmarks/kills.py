"""Worker, controller and gateway killed again and again under load and during changeovers: who notices?

    python benchmarks/kills.py [COUNT] [--gateways N] [--seed N] [--beside N]

Each role is killed COUNT times (default 100), the three at random moments beside each other, while versions change over
without a pause. Nobody may notice a dead worker or controller; a dead gateway may break the connections that it held,
and no other: it is stopped and its sockets are listed before the kill. What broke is sent again and must succeed.

With `--beside N` so many processes only compute meanwhile, once the capacity is known: a machine that starves.
Then the load may be over what is left of the capacity, and a request that is refused for that (503 with `Retry-After`)
is overload, is counted as shed and has no limit; what failed in any other way still must be 0.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from changeover.bench.breaks import Told, tell_apart
from changeover.bench.process import BenchProcess
from changing import Changer
from felt import capacity, counts, small, spec_for
from household import Household
from killing import GIVE_UP, Killed, Killer
from rig import PATIENT_S, Server, emit, say, verdict

SHARE = 0.5
BURST = 5
STABLE_S = 10.5
"""A death after 10 s of life counts as a first one, which is replaced at once; in between come bursts of quick ones."""
WORKER_EVERY = 2.8
MOST_S = 480.0
VERSIONS = 8000
_BAD = ("failed", "shed", "wrong", "wrong_version")
OUT = Path("bench-results")


@dataclass(slots=True)
class Siege:
    """Three killers, one thread each."""

    household: Household
    asked: Asked
    over: threading.Event

    def run(self, until: float) -> list[Killed]:
        """Kill until every role had its share, or the time is over."""
        patience = MOST_S if self.asked.beside else GIVE_UP  # where there is hardly a core an interpreter takes long
        killers = {
            role: Killer(self.household, random.Random(f"{self.asked.seed} {role}"), self.over, patience)
            for role in _RHYTHMS
        }
        threads = [threading.Thread(target=self._besiege, args=(r, k), daemon=True) for r, k in killers.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and time.monotonic() < until:
                thread.join(1)
        self.over.set()
        for thread in threads:
            thread.join()
        return sorted((k for killer in killers.values() for k in killer.killed), key=lambda k: k.kill.at)

    def _besiege(self, role: str, killer: Killer) -> None:
        within, rest = _RHYTHMS[role]
        while len(killer.killed) < self.asked.count and not self.over.is_set():
            killer.kill(role, within)
            if len(killer.killed) % 10 == 0:
                say(f"kills: {role} {len(killer.killed)} of {self.asked.count}")
            if rest and len(killer.killed) % BURST == 0 and len(killer.killed) < self.asked.count:
                self.over.wait(rest)


_RHYTHMS = {"worker": (2 * WORKER_EVERY, 0.0), "controller": (0.8, STABLE_S), "gateway": (0.8, STABLE_S)}
"""By role: the longest wait before a kill, and the rest after a burst, seconds."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    count: int
    gateways: int
    seed: int
    beside: int


@contextmanager
def company(count: int) -> Iterator[None]:
    """So many processes that only compute; they end by themselves when this one is killed."""
    command = ["timeout", str(2 * MOST_S), sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.terminate()
        for process in busy:
            process.wait()


def main(asked: Asked) -> None:
    """Run and print."""
    subject = small()
    arguments = ["--gateways", str(asked.gateways)] if asked.gateways else []
    with Server({subject.name: subject.versions[0]}, arguments=arguments) as server:
        server.keep_log = OUT / "kills.log"
        household = Household(server.process.pid, server.port)
        spec = spec_for(subject, server.port, VERSIONS)
        rate = SHARE * capacity(spec)
        load = replace(spec, mode="open", rate=rate, arrivals="poisson", duration_s=1e6, connections=128, retries=8,
                       keep_rows=False, timeout_s=PATIENT_S, seed=asked.seed)  # fmt: skip
        changer, over = Changer(server, subject.name, subject.versions), threading.Event()
        say(f"kills: {asked.count} of each role, {rate:,.0f} requests/s, seed {asked.seed}, {asked.beside} beside")
        with company(asked.beside), BenchProcess(load, on_progress=_Watch()) as bench:
            changes = threading.Thread(target=_change, args=(changer, over), daemon=True)
            changes.start()
            killed = Siege(household, asked, over).run(time.monotonic() + MOST_S)
            changes.join()
            bench.stop()
            result, breaks = bench.result(PATIENT_S + 30), bench.records().breaks
    report(asked, killed, result, tell_apart(breaks, [k.kill for k in killed]), changer)


def _change(changer: Changer, over: threading.Event) -> None:
    """One changeover after the other until all is over."""
    while not over.wait(0.1):
        try:
            changer.change()
        except TimeoutError as error:
            say(f"kills: {error}")


class _Watch:
    """Says when something went wrong, so that it can be found in the server's log."""

    def __init__(self) -> None:
        self._seen = dict.fromkeys(_BAD, 0)

    def __call__(self, progress: dict[str, Any]) -> None:
        new = {key: int(progress[key]) - seen for key, seen in self._seen.items()}
        if any(new.values()):
            told = ", ".join(f"{count} {key.replace('_', ' ')}" for key, count in new.items() if count)
            say(f"kills: {told} at {progress['elapsed_s']:.0f} s")
            self._seen = {key: int(progress[key]) for key in _BAD}


def report(asked: Asked, killed: list[Killed], result: dict[str, Any], told: Told, changer: Changer) -> None:
    """Print the figures."""
    for role in _RHYTHMS:
        mine = [k for k in killed if k.kill.role == role]
        back = [k.back_s for k in mine]
        emit(f"killed_{role}", met=len(mine) >= asked.count and None not in back, killed=len(mine),
             slowest_replacement_s=round(max((b or 0.0 for b in back), default=0.0), 2),
             reach=f"{asked.count}, each replaced")  # fmt: skip
    bad = {key: value for key, value in counts(result).items() if key != "requests"}
    starved = asked.beside > 0
    emit("requests_under_kills", met=not any(bad.values()) and (starved or not result["shed"]), **counts(result),
         shed=result["shed"], failures=result["failures"], changeovers=changer.succeeded,
         attempted=len(changer.changes), busy_beside=asked.beside,
         reach="0 failed, 0 wrong, 0 stale" + ("; shed: overload, no limit" if starved else ", 0 shed"))  # fmt: skip
    held = sum(len(k.kill.held) for k in killed)
    emit("broken_by_kill", met=not told.unexplained, connections_held=held, connections_broken=len(told.by_kill),
         requests_sent_again=told.requests, unexplained=len(told.unexplained),
         reach="only connections that a killed gateway held")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="kills.py")
    parser.add_argument("count", type=int, nargs="?", default=100)
    parser.add_argument("--gateways", type=int, default=0, metavar="N", help="default: as the server")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--beside", type=int, default=0, metavar="N", help="processes beside it that only compute")
    given = parser.parse_args()
    main(Asked(given.count, given.gateways, given.seed, given.beside))
    sys.exit(verdict())
