"""What the kernel shows of a process: is it stopped, how much memory has it to itself."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def tasks(pid: int) -> list[int]:
    """Numbers of its threads; none when it is gone."""
    try:
        return [int(task) for task in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped it; False when it is gone."""
    return _state(pid) == b"T"


def wants_a_core(pid: int) -> bool:
    """Whether this thread (of a process the first) runs or waits for a core; False when it sleeps, or is gone."""
    return _state(pid) == b"R"


def _state(pid: int) -> bytes:
    try:
        told = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return b""
    at = told.rindex(b")") + 2  # the name between the brackets may hold anything, no text even
    return told[at : at + 1]


def private_bytes(pid: int) -> int:
    """Resident bytes that are neither a file's nor shared memory; 0 when it is gone."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE


def processor_time(pid: int) -> float:
    """Seconds that this thread (of a process the first) has run; 0 when it is gone, or the kernel does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) * 1e-9
    except (OSError, ValueError, IndexError):
        return 0.0


def oom_kills() -> int:
    """Processes that the kernel has killed since boot because memory ran out; 0 where it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
