"""What is left of processes and ports, with real ones."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import psutil
import pytest

from changeover.runtime import quiet
from changeover.testing import wait_for
from changeover.testing.traces import cpu_seconds, hasten, traces


def test_living_processes_and_listening_ports_are_traces() -> None:
    """Dead processes, zombies too, and closed ports are none."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        process = psutil.Process(child.pid)
        found = traces([process], [port, 0])
        assert [f"process {child.pid}", f"port {port}"] == [trace for trace in found if "/" not in trace]
        child.kill()
        wait_for(lambda: not [t for t in traces([process], []) if "process" in t], "a zombie at the most")
    child.communicate()
    assert not [trace for trace in traces([process], [port]) if "/" not in trace]


@pytest.mark.skipif(not quiet._may_renice(), reason="raising a priority again is not allowed here")
def test_who_is_low_is_hastened() -> None:
    """And lives on; who has ended is no error."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        os.sched_setscheduler(child.pid, os.SCHED_IDLE, os.sched_param(0))
        process = psutil.Process(child.pid)
        hasten([process])
        assert (os.sched_getscheduler(child.pid), child.poll()) == (os.SCHED_OTHER, None)
        child.communicate()
    hasten([process])


def test_processor_time_grows_with_work() -> None:
    """Of the process that is asked for."""
    here = psutil.Process()
    before = cpu_seconds(here)
    wait_for(lambda: sum(range(100_000)) and cpu_seconds(here) > before, "some time used")
    assert cpu_seconds(here) > before
