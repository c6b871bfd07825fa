"""A scene that is played again where the machine stood still, and only there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.held_up import unless_held_up

STOPS_ITSELF = """
import subprocess, sys
from tests.held_up import unless_held_up
tries = []
@unless_held_up(0.5)
def scene():
    tries.append(1)
    if len(tries) < 3:  # somebody else wakes this process a second later
        subprocess.run(["sh", "-c", "kill -STOP $PPID; sleep 1; kill -CONT $PPID"])
        raise AssertionError("held up")
scene()
print(len(tries))
"""


def test_a_failure_without_a_pause_counts_at_once() -> None:
    """It is no excuse for a defect."""
    tries: list[int] = []

    @unless_held_up(60.0)
    def scene() -> None:
        tries.append(1)
        pytest.fail("a defect")

    with pytest.raises(pytest.fail.Exception, match="a defect"):
        scene()
    assert tries == [1]


def test_a_failure_that_stays_counts_too() -> None:
    """After the last try, however slow the machine is."""
    tries: list[int] = []

    @unless_held_up(0.0, tries=3)
    def scene() -> None:
        tries.append(1)
        raise AssertionError("a defect")

    with pytest.raises(AssertionError, match="a defect"):
        scene()
    assert len(tries) == 3


def test_a_process_that_was_stopped_tries_again() -> None:
    """Twice for a second: the third try counts."""
    command, root = [sys.executable, "-c", STOPS_ITSELF], Path(__file__).parents[1]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=root)
    assert told.stdout.split() == ["3"]
