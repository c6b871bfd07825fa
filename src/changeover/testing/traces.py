"""What a server leaves on the machine: processes, listening sockets, shared memory."""

from __future__ import annotations

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
