"""The normal policy with short slices, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from changeover.runtime.slices import give_way


def test_a_process_gives_way() -> None:
    """It has the niceness and the normal policy, and the kernel has taken the slice."""
    code = (
        "import os; from changeover.runtime.slices import give_way; give_way(12); "
        "print(os.nice(0), os.sched_getscheduler(0) == os.SCHED_OTHER)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.split() == [str(12), "True"]


def test_one_that_has_ended() -> None:
    """Is told by an error."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    give_way(19, child.pid)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
    child.send_signal(signal.SIGKILL)
    child.wait()
    with pytest.raises(OSError, match="No such process"):
        give_way(19, child.pid)
