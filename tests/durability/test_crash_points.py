"""A real controller, and a real server, killed at system calls spread over a version's life."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.durability import crash_points
from tests.durability.crash_points import CannotTrace
from tests.durability.lives import Promise, broken
from tests.durability.order import violations
from tests.durability.points import FAILING, Call, Point, Recorded, points

SAMPLE = 8
IN_A_CANARY = (
    Point(9, "canary", "after"),
    Point(110, "canary"),
    Point(14, "canary", "EIO", spell=True),
    Point(90, "taken_back"),
    Point(75, "taken_back", "ENOSPC"),
)
"""A shadow, a share, a promotion, a verdict; benchmarks/crash_points.py visits them all."""
FEWEST_CALLS = 120
"""A life has more; a tracer that misses some would make the points a matter of luck."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """One life, undisturbed."""
    try:
        return crash_points.record(tmp_path_factory.mktemp("recorded"), certificate=False)
    except CannotTrace as error:
        pytest.skip(f"no process can be traced here: {error}")


@pytest.fixture(scope="module")
def calls(recorded: Recorded) -> list[Call]:
    """Its calls."""
    return recorded.calls


def test_all_kinds_of_calls_are_seen(calls: list[Call]) -> None:
    """Numbered without a gap, for the journal, the sealed artifacts and the other processes."""
    assert len(calls) >= FEWEST_CALLS
    assert [call.number for call in calls] == list(range(1, len(calls) + 1))
    assert {"mkdir", "openat", "write", "fsync", "rename", "pwrite64", "fdatasync", "sendmsg"} <= {
        c.name for c in calls
    }
    assert {"journal.sqlite-wal", "artifacts", "parent"} <= {call.path for call in calls}


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_killed_at_points_spread_over_a_life(recorded: Recorded, tmp_path: Path) -> None:
    """No request fails or is answered wrongly, what was acknowledged holds, and every rollout ends by its rule."""
    kills = [point for point in points(recorded) if point.what not in FAILING]
    every = [point for point in kills if point.what == "before" or point.number % 2]
    step = len(every) // SAMPLE
    chosen = [replace(p, cold=n % 4 == 3) for n, p in enumerate(every[step // 2 :: step])]
    outcomes = list(crash_points.sweep(tmp_path, chosen))
    assert not [(str(o.point), o.call, o.problems) for o in outcomes if o.problems]
    assert sum(o.call is not None for o in outcomes) >= SAMPLE - 2


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.usefixtures("recorded")
def test_killed_or_unable_to_write_in_a_canary(tmp_path: Path) -> None:
    """A sound version gets there all the same, one that fails at its step is taken back, and no client can tell."""
    outcomes = list(crash_points.sweep(tmp_path, IN_A_CANARY))
    assert not [(str(o.point), o.call, o.problems) for o in outcomes if o.problems]
    assert [str(o.point) for o in outcomes[:-1] if o.call is None] == []


@pytest.mark.parametrize(("process", "seconds"), [("changeover.controller.process", 0.25), ("anything.else", 1.0)])
def test_a_controller_in_a_hurry_looks_more_often(process: str, seconds: float) -> None:
    """Only a controller, and only of a server that is started in a hurry."""
    code = "from changeover.rollout import driver; print(driver._TICK)"
    with crash_points.hurried():
        told = subprocess.run([sys.executable, "-c", code, process], capture_output=True, check=True)
    assert float(told.stdout) == seconds


def test_the_order_of_writes(calls: list[Call]) -> None:
    """Synchronised before it is renamed, renamed for good before it is recorded, recorded before it is told."""
    assert violations(calls) == []


@pytest.mark.parametrize(
    ("name", "path", "complaint"),
    [
        ("fsync", "model.onnx", "model.onnx was not synchronised before"),
        ("fsync", "manifest.json", "manifest.json was not synchronised before"),
        ("fsync", "files", "files was not synchronised before"),
        ("fsync", "artifacts", "before its rename is durable"),
        ("fdatasync", "journal.sqlite-wal", "tells what the journal has not synchronised"),
    ],
)
def test_a_missing_sync_is_noticed(calls: list[Call], name: str, path: str, complaint: str) -> None:
    """The same trace without one kind of synchronisation."""
    doctored = [call for call in calls if not (call.name == name and call.path.split("/")[-1] == path)]
    assert len(doctored) < len(calls)
    assert any(complaint in sentence for sentence in violations(doctored))


@pytest.mark.parametrize(
    ("promise", "phase"),
    [
        (Promise(2, good=True, rollout="r-1"), "failed"),
        (Promise(2, good=True, rollout="r-1"), "rolled_back"),
        (Promise(2, good=True, rollout="r-1", undo_asked=True, undone=True), "succeeded"),
        (Promise(2, good=False, rollout="r-1"), "watching"),
        (Promise(3, good=True, rollout="r-1"), "watching"),
    ],
)
def test_a_broken_promise_is_noticed(promise: Promise, phase: str) -> None:
    """A wrong end, or a rollout that is lost."""
    assert broken(promise, [{"to": {"version": "2"}, "phase": phase, "reason": None}])
