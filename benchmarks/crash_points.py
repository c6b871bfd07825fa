"""The controller of a real server is killed at every state-changing system call of a version's life, or cannot write.

    python benchmarks/crash_points.py [SECONDS] [--lives LIFE,...] [--kinds before,after,EIO,ENOSPC] [--append FILE]

First each life is recorded: `instant`, a promotion and its undo, a promotion and a refused push; `canary`, a whole
rollout from its gates to its drain; `taken_back`, one that the judge takes back at its step; and their certificates.
Then each call is a point: SIGKILL before it and, where it makes something durable or known, after it (at every fourth
the whole server dies and is started again); fsync and fdatasync that fail, all that needs room on a disk that has none
(at every fourth the disk stays sick). When SECONDS (600) are over what is left is not visited: the order is spread over
the lives, so that those visited are. With --append the points that FILE has already count, and the next piece goes on
behind them. Light traffic goes on meanwhile. The controllers look at their rollouts four times a second instead of
once (`tests/durability/hurried/`), so that a life takes 1 to 5 s.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.durability import crash_points
from tests.durability.crash_points import CannotTrace
from tests.durability.lives import LIVES
from tests.durability.points import FAILING, Call, Outcome, Point, Recorded, harder, points

from changeover.scratch import scratch
from kept import Kept, Row
from rig import emit, say, verdict

LANES = 2 * (os.cpu_count() or 1)
"""Servers at once, unless told otherwise: a life waits half of the time."""
_RUN = 2
"""Points of one kind in a row, the harder ones among them."""
_GOLDEN = 0.6180339887498949


KINDS = ("before", "after", *FAILING)


def spread(found: list[Point]) -> list[Point]:
    """In an order whose every beginning is spread over the whole."""
    ranked = sorted(range(len(found)), key=lambda index: (index * _GOLDEN) % 1.0)
    plain = [replace(found[index], cold=False, spell=False) for index in ranked]
    return [harder(point) if index // _RUN % 4 == 3 else point for index, point in enumerate(plain)]


def lane(mine: list[Point], until: float, kept: Path | None) -> list[Row]:
    """Visit points on one server, as long as there is time."""
    rows: list[Row] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the server does not stay
    folder = scratch("bench")
    try:
        for outcome in crash_points.sweep(folder, mine, until):
            rows.append(_row(outcome))
            if kept is not None:
                with kept.open("a") as file:  # one write a line, so that lanes do not mix theirs
                    file.write(json.dumps(rows[-1]) + "\n")
            for problem in outcome.problems:
                say(f"crash points: {outcome.point}, {outcome.call}: {problem}")
            if len(rows) % 20 == 0:
                say(f"crash points: {len(rows)} of {len(mine)} in one lane")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def _row(outcome: Outcome) -> Row:
    point, call = outcome.point, outcome.call
    return {"point": str(point), "life": point.life if point.number else "", "what": point.what, "cold": point.cold,
            "spell": point.spell, "call": call.name if call else None, "problems": outcome.problems}  # fmt: skip


def main(seconds: float, lives: Sequence[str], kinds: Sequence[str], lanes: int, append: Path | None) -> None:
    """Record, sweep, print the figures."""
    until = time.monotonic() + seconds
    kept = Kept(append, {"bench": "crash_points"})
    recorded = [_known(life, kept) for life in lives]
    wanted = spread([point for life in recorded for point in points(life) if point.what in kinds])
    had = {row["point"] for row in kept.rows if "point" in row}
    left = [point for point in wanted if str(point) not in had]
    say(f"crash points: {sum(len(life.calls) for life in recorded)} calls, {len(wanted)} points, {len(left)} to visit")
    with ProcessPoolExecutor(lanes) as pool:
        jobs = [pool.submit(lane, left[number::lanes], until, append) for number in range(lanes if left else 0)]
        found = [row for done in as_completed(jobs) for row in done.result()]
    outcomes = [row for row in kept.rows if "point" in row] + found
    for life in recorded:
        report(life, wanted, outcomes)
    loose = [problem for row in outcomes if not row["life"] for problem in row["problems"]]
    visited = [row for row in outcomes if row["call"] is not None]
    emit("crash_points", met=bool(visited) and not loose and not any(row["problems"] for row in outcomes),
         points=len(visited), survived=sum(not row["problems"] for row in visited), of=len(wanted), loose=loose,
         reach="all survive")  # fmt: skip


def _known(life: str, kept: Kept) -> Recorded:
    """A life as the first piece recorded it: a call's number means the same in all pieces."""
    for row in kept.rows:
        if row.get("recorded") == life:
            return Recorded(life, [Call(*call) for call in row["calls"]], row["quick"])
    made = _recorded(life)
    calls = [(call.number, call.name, call.path) for call in made.calls]
    kept.add({"recorded": life, "calls": calls, "quick": made.quick})
    return made


def _recorded(life: str) -> Recorded:
    folder = scratch("bench")
    try:
        return crash_points.record(folder, life)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(recorded: Recorded, wanted: list[Point], outcomes: list[Row]) -> None:
    """One line of JSON for a life."""
    mine = [row for row in outcomes if row["life"] == recorded.life]
    visited = [row for row in mine if row["call"] is not None]
    emit(
        f"crash_points_{recorded.life}",
        met=bool(visited) and not any(row["problems"] for row in mine),
        points=len(visited),
        survived=sum(not row["problems"] for row in visited),
        of=sum(point.life == recorded.life for point in wanted),
        calls=len(recorded.calls),
        not_reached=len(mine) - len(visited),
        cold=sum(row["cold"] for row in visited),
        spells=sum(row["spell"] for row in visited),
        by_kind=dict(Counter(row["what"] for row in visited)),
        by_call=dict(sorted(Counter(row["call"] for row in visited).items())),
        reach="all survive",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="crash_points.py")
    parser.add_argument("seconds", type=float, nargs="?", default=600.0)
    parser.add_argument("--lives", default=",".join(LIVES))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--lanes", type=int, default=LANES, metavar="N", help="servers at once")
    parser.add_argument("--append", type=Path, metavar="FILE", help="keeps what was visited, for the next piece")
    given = parser.parse_args()
    try:
        main(given.seconds, given.lives.split(","), given.kinds.split(","), given.lanes, given.append)
    except CannotTrace as error:
        say(f"crash points: skipped, {error}")
        sys.exit(0)
    sys.exit(verdict())
