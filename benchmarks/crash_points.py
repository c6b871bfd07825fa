"""The controller of a real server is killed at every state-changing system call of a version's life.

python benchmarks/crash_points.py [SECONDS]

First a life is recorded: a promotion and its undo, a promotion, a refused push, and their certificates. Then each of
its calls is a point twice, before the call and, where it makes something durable or known, after it; at every fourth
the whole server dies and is started again. When SECONDS (330) are over what is left is not visited: the order is
spread over the life, so that those visited are. Light traffic goes on meanwhile.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.durability import crash_points
from tests.durability.crash_points import CannotTrace, Outcome, Point

from rig import emit, say, verdict

LANES = max(2, (os.cpu_count() or 2))
_GOLDEN = 0.6180339887498949


def spread(points: list[Point]) -> list[Point]:
    """In an order whose every beginning is spread over the whole."""
    ranked = sorted(range(len(points)), key=lambda index: (index * _GOLDEN) % 1.0)
    ordered = [points[index] for index in ranked]
    return [Point(p.number, p.after, cold=index // LANES % 4 == 3) for index, p in enumerate(ordered)]


def lane(points: list[Point], until: float) -> list[Outcome]:
    """Visit points on one server, as long as there is time."""
    outcomes: list[Outcome] = []
    folder = Path(tempfile.mkdtemp(prefix="changeover-crash-"))
    try:
        for outcome in crash_points.sweep(folder, points, until):
            outcomes.append(outcome)
            for problem in outcome.problems:
                say(f"crash points: {outcome.point}, {outcome.call}: {problem}")
            if len(outcomes) % 20 == 0:
                say(f"crash points: {len(outcomes)} of {len(points)} in one of {LANES} lanes")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def main(seconds: float) -> None:
    """Record, sweep, print the figure."""
    until = time.monotonic() + seconds
    folder = Path(tempfile.mkdtemp(prefix="changeover-crash-"))
    try:
        calls = crash_points.record(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    points = spread(crash_points.points(calls))
    say(f"crash points: {len(calls)} calls, {len(points)} points, {LANES} lanes")
    with ProcessPoolExecutor(LANES) as pool:
        lanes = [pool.submit(lane, points[number::LANES], until) for number in range(LANES)]
        outcomes = [outcome for done in as_completed(lanes) for outcome in done.result()]
    report(len(calls), len(points), outcomes)


def report(calls: int, points: int, outcomes: list[Outcome]) -> None:
    """One line of JSON; a problem that belongs to no point fails the figure too."""
    visited = [o for o in outcomes if o.call is not None]
    survived = sum(not o.problems for o in visited)
    by_call: dict[str, int] = {}
    for outcome in visited:
        if outcome.call is not None:
            by_call[outcome.call.name] = by_call.get(outcome.call.name, 0) + 1
    emit(
        "crash_points",
        met=bool(visited) and not any(o.problems for o in outcomes),
        points=len(visited),
        survived=survived,
        of=points,
        calls=calls,
        not_reached=sum(o.call is None and o.point.number > 0 for o in outcomes),
        cold=sum(o.point.cold for o in visited),
        after=sum(o.point.after for o in visited),
        by_call=dict(sorted(by_call.items())),
        reach="all survive",
    )


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 330.0)
    except CannotTrace as error:
        say(f"crash points: skipped, {error}")
        sys.exit(0)
    sys.exit(verdict())
