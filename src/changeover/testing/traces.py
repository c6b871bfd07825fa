"""What a server leaves on the machine: processes, listening sockets, shared memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import psutil

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, never written


class Outlived(AssertionError):
    """A process, listening socket or shared-memory file is left after its server's end."""


def traces(processes: Iterable[psutil.Process], ports: Iterable[int]) -> list[str]:
    """Those of these that are left, each by its name; shared memory is looked for by the product's."""
    left = [f"process {process.pid}" for process in processes if _alive(process)]
    left += [f"port {port}" for port in ports if port and _listening(port)]
    return left + [str(file) for file in _SHARED_MEMORY.glob("*changeover*")]


def hasten(processes: Iterable[psutil.Process]) -> None:
    """Give those of low priority a turn like others: a process that was killed needs a core to end."""
    for process in processes:
        try:
            for task in os.listdir(f"/proc/{process.pid}/task"):
                if os.sched_getscheduler(int(task)) != os.SCHED_OTHER and process.is_running():
                    os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))
        except OSError:  # it is gone, or this is not allowed here
            continue


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time that a process has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _listening(port: int) -> bool:
    suffix = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(suffix) and row[3] == "0A" for row in rows)
