"""The controller of a real server is killed at every state-changing system call of a version's life, or cannot write.

    python benchmarks/crash_points.py [SECONDS] [--lives LIFE,...] [--kinds before,after,EIO,ENOSPC] [--skip N]

First each life is recorded: `instant`, a promotion and its undo, a promotion and a refused push; `canary`, a whole
rollout from its gates to its drain; `taken_back`, one that the judge takes back at its step; and their certificates.
Then each call is a point: SIGKILL before it and, where it makes something durable or known, after it (at every fourth
the whole server dies and is started again); fsync and fdatasync that fail, all that needs room on a disk that has none
(at every fourth the disk stays sick). When SECONDS (600) are over what is left is not visited: the order is spread over
the lives, so that those visited are, and --skip goes on in it. Light traffic goes on meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.durability import crash_points
from tests.durability.crash_points import CannotTrace
from tests.durability.lives import LIVES
from tests.durability.points import FAILING, Outcome, Point, Recorded, harder, points

from changeover.scratch import scratch
from rig import emit, say, verdict

LANES = max(2, (os.cpu_count() or 2))
_GOLDEN = 0.6180339887498949


KINDS = ("before", "after", *FAILING)


def spread(found: list[Point]) -> list[Point]:
    """In an order whose every beginning is spread over the whole."""
    ranked = sorted(range(len(found)), key=lambda index: (index * _GOLDEN) % 1.0)
    plain = [replace(found[index], cold=False, spell=False) for index in ranked]
    return [harder(point) if index // LANES % 4 == 3 else point for index, point in enumerate(plain)]


def lane(mine: list[Point], until: float) -> list[Outcome]:
    """Visit points on one server, as long as there is time."""
    outcomes: list[Outcome] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the server does not stay
    folder = scratch("bench")
    try:
        for outcome in crash_points.sweep(folder, mine, until):
            outcomes.append(outcome)
            for problem in outcome.problems:
                say(f"crash points: {outcome.point}, {outcome.call}: {problem}")
            if len(outcomes) % 20 == 0:
                say(f"crash points: {len(outcomes)} of {len(mine)} in one of {LANES} lanes")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def main(seconds: float, lives: Sequence[str], kinds: Sequence[str], skip: int) -> None:
    """Record, sweep, print the figures."""
    until = time.monotonic() + seconds
    recorded = [_recorded(life) for life in lives]
    wanted = spread([point for life in recorded for point in points(life) if point.what in kinds])[skip:]
    say(f"crash points: {sum(len(life.calls) for life in recorded)} calls, {len(wanted)} points, {LANES} lanes")
    with ProcessPoolExecutor(LANES) as pool:
        lanes = [pool.submit(lane, wanted[number::LANES], until) for number in range(LANES)]
        outcomes = [outcome for done in as_completed(lanes) for outcome in done.result()]
    for life in recorded:
        report(life, wanted, outcomes)
    loose = [problem for o in outcomes if not o.point.number for problem in o.problems]
    visited = [o for o in outcomes if o.call is not None]
    emit("crash_points", met=bool(visited) and not loose and not any(o.problems for o in outcomes),
         points=len(visited), survived=sum(not o.problems for o in visited), of=len(wanted), loose=loose,
         reach="all survive")  # fmt: skip


def _recorded(life: str) -> Recorded:
    folder = scratch("bench")
    try:
        return crash_points.record(folder, life)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(recorded: Recorded, wanted: list[Point], outcomes: list[Outcome]) -> None:
    """One line of JSON for a life."""
    mine = [o for o in outcomes if o.point.number and o.point.life == recorded.life]
    visited = [o for o in mine if o.call is not None]
    by_call: dict[str, int] = {}
    for outcome in visited:
        if outcome.call is not None:
            by_call[outcome.call.name] = by_call.get(outcome.call.name, 0) + 1
    emit(
        f"crash_points_{recorded.life}",
        met=bool(visited) and not any(o.problems for o in mine),
        points=len(visited),
        survived=sum(not o.problems for o in visited),
        of=sum(point.life == recorded.life for point in wanted),
        calls=len(recorded.calls),
        not_reached=len(mine) - len(visited),
        cold=sum(o.point.cold for o in visited),
        spells=sum(o.point.spell for o in visited),
        by_kind={kind: sum(o.point.what == kind for o in visited) for kind in KINDS},
        by_call=dict(sorted(by_call.items())),
        reach="all survive",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="crash_points.py")
    parser.add_argument("seconds", type=float, nargs="?", default=600.0)
    parser.add_argument("--lives", default=",".join(LIVES))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="points of the order visited before")
    given = parser.parse_args()
    try:
        main(given.seconds, given.lives.split(","), given.kinds.split(","), given.skip)
    except CannotTrace as error:
        say(f"crash points: skipped, {error}")
        sys.exit(0)
    sys.exit(verdict())
