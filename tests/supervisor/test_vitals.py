"""What the kernel tells of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from changeover.supervisor import vitals
from changeover.testing import wait_for

_HOLDS = "import sys; held = bytearray(b'x') * (64 << 20); print(flush=True); sys.stdin.read()"


def test_a_stopped_process_is_told_from_a_sleeping_one() -> None:
    """A name with brackets and blanks does not hide it; one that is gone is not stopped."""
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert not vitals.is_stopped(child.pid)
            child.send_signal(signal.SIGSTOP)
            wait_for(lambda: vitals.is_stopped(child.pid), "the stop")
            child.send_signal(signal.SIGCONT)
            wait_for(lambda: not vitals.is_stopped(child.pid), "the end of the stop")
        finally:
            child.kill()
    assert not vitals.is_stopped(child.pid)
    assert vitals.private_bytes(child.pid) == 0


def test_a_name_may_hold_anything(tmp_path: os.PathLike[str]) -> None:
    """The state is read behind the last bracket."""
    name = os.path.join(tmp_path, "a) T (b")
    os.symlink("/bin/sleep", name)
    with subprocess.Popen([name, "60"]) as child:
        try:
            assert not vitals.is_stopped(child.pid)
        finally:
            child.kill()


def test_a_name_may_be_no_text() -> None:
    """A worker runs other people's files, and one may give its process a name of any bytes."""
    code = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'\\xff\\xfe', 0, 0, 0); "
    code += "print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert not vitals.is_stopped(child.pid)
        child.communicate()


def test_private_memory_is_what_a_process_has_to_itself() -> None:
    """64 MiB that it filled are seen; a file that it maps is not."""
    with subprocess.Popen([sys.executable, "-c", _HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 64 << 20 <= vitals.private_bytes(child.pid) < 128 << 20
        child.communicate()


def test_memory_kills_are_counted_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since boot; a kernel that does not tell is no error."""
    first = vitals.oom_kills()
    assert 0 <= first <= vitals.oom_kills()
    monkeypatch.setattr("changeover.supervisor.vitals.Path.read_text", lambda _: "oom_kill_other 5\noom_kill 3\n")
    assert vitals.oom_kills() == 3


def test_processor_time_is_what_a_process_has_used() -> None:
    """It grows with work; a process that has gone has none."""
    before = vitals.processor_time(os.getpid())
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    assert 0.04 < vitals.processor_time(os.getpid()) - before < 60
    assert vitals.processor_time(2**31 - 1) == 0.0


def test_who_sleeps_wants_no_core() -> None:
    """Who runs or waits for its turn does; who is gone does not."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as asleep:
        try:
            wait_for(lambda: not vitals.wants_a_core(asleep.pid), "sleep")
            assert vitals.wants_a_core(os.getpid())
        finally:
            asleep.kill()
    assert not vitals.wants_a_core(asleep.pid)


def test_threads_are_told_one_by_one() -> None:
    """Of one that is gone there are none."""
    code = "import threading, sys; threading.Thread(target=sys.stdin.read).start(); print(flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        tasks = vitals.tasks(child.pid)
        assert child.pid in tasks
        assert len(tasks) == 2
        child.communicate()
    assert vitals.tasks(child.pid) == []
