"""What is left of processes and ports, with real ones."""

from __future__ import annotations

import socket
import subprocess
import sys

import psutil

from changeover.testing import wait_for
from changeover.testing.traces import cpu_seconds, traces


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


def test_processor_time_grows_with_work() -> None:
    """Of the process that is asked for."""
    here = psutil.Process()
    before = cpu_seconds(here)
    wait_for(lambda: sum(range(100_000)) and cpu_seconds(here) > before, "some time used")
    assert cpu_seconds(here) > before
