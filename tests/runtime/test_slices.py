"""The normal policy with short slices, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys

import pytest

from changeover.runtime.slices import give_way, stand_normal


def test_a_process_gives_way() -> None:
    """It has the niceness and the normal policy, and the kernel has taken the slice."""
    code = (
        "import os; from changeover.runtime.slices import give_way; give_way(12); "
        "print(os.nice(0), os.sched_getscheduler(0) == os.SCHED_OTHER)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.split() == [str(12), "True"]


def slice_of(task: int) -> int:
    """Nanoseconds, as the kernel tells; 0 from one that cuts none."""
    told = ctypes.create_string_buffer(48)
    number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, task, told, len(told), 0) == 0
    return int(struct.unpack("IIQiIQQQ", told.raw)[5])


def test_what_was_cut_is_whole_again() -> None:
    """Other changes of the policy keep the short slices, so a worker that was lifted while it loaded would serve so."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stand_normal(5, child.pid)
        whole = slice_of(child.pid)
        give_way(10, child.pid)
        os.sched_setscheduler(child.pid, os.SCHED_IDLE, os.sched_param(0))
        os.sched_setscheduler(child.pid, os.SCHED_OTHER, os.sched_param(0))
        cut = slice_of(child.pid)
        assert cut < whole or not whole, "a kernel that cuts no slices tells none"
        stand_normal(12, child.pid)
        assert slice_of(child.pid) == whole
        assert (os.sched_getscheduler(child.pid), os.getpriority(os.PRIO_PROCESS, child.pid)) == (os.SCHED_OTHER, 12)
    finally:
        child.kill()
        child.wait()


def test_one_that_has_ended() -> None:
    """Is told by an error."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    give_way(19, child.pid)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
    child.send_signal(signal.SIGKILL)
    child.wait()
    with pytest.raises(OSError, match="No such process"):
        give_way(19, child.pid)
