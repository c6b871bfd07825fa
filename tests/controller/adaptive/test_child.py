"""The first moments of a tuning: idle priority, the life of its parent, and then the command."""

from __future__ import annotations

import os
import subprocess
import sys

from changeover.controller.adaptive import child

COMMAND = [sys.executable, "-m", "changeover.controller.adaptive.child"]
PROBE = """
import os, sys
from changeover.controller.adaptive import child
child._COMMAND = ("-c", "import os, sys; print(os.sched_getscheduler(0) == os.SCHED_IDLE, sys.argv[1:]); "
                  "print(open('/proc/self/oom_score_adj').read())")
sys.argv = ["child", str(os.getppid()), "a", "b"]
child.main()
"""


def test_it_becomes_the_command_at_idle_priority() -> None:
    """With the arguments it was given; and where memory runs out it goes before those who serve."""
    ended = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split("\n")[:2] == ["True ['a', 'b']", "1000"]


def test_it_does_not_outlive_another_parent() -> None:
    """One whose parent is gone already ends at once, and runs nothing."""
    ended = subprocess.run([*COMMAND, str(os.getpid() + 1), "--help"], capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_it_is_a_command_that_there_is() -> None:
    """What it becomes."""
    ended = subprocess.run([*COMMAND, str(os.getpid()), "--help"], capture_output=True, timeout=60, check=False)
    assert child._COMMAND[1:] == ("changeover.cli", "model", "tune")
    assert ended.returncode == 0, ended.stderr
    assert b"--write" in ended.stdout
