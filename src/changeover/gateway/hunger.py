"""Is a silent worker hungry? On a machine that others keep busy it may want a core and get none, which is no hang.

Looked at only while a worker is silent for long. A thread that waits for a lock or a device is not hungry, nor is one
that computes: those hang, or take too long.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.05
"""Seconds between two looks."""


class Hunger:
    """Counts the seconds of one silence after another in which a process wanted a core and had none.

    Args:
        pid: of the process, 0 for one that nobody knows: it is never hungry.
    """

    __slots__ = ("_at", "_pid", "_seconds", "_since", "_used")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._since = self._at = self._seconds = 0.0
        self._used: dict[int, float] = {}

    def look(self, since: float, now: float) -> float:
        """Seconds of hunger seen until now in the silence since then; the first look at a silence sees none yet."""
        if since == self._since and now - self._at < _PAUSE:
            return self._seconds
        used = _used(self._pid)
        if since != self._since:
            self._since, self._seconds = since, 0.0
        else:
            passed = now - self._at
            known = [task for task in used if task in self._used]
            lacks = [passed - (used[task] - self._used[task]) for task in known if _wants(task)]
            self._seconds += min(max(lacks, default=0.0), passed)
        self._at, self._used = now, used
        return self._seconds


def _used(pid: int) -> dict[int, float]:
    """Seconds that each thread has run, of those of which the kernel tells it."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task") if pid else []
        return {int(task): int(Path(f"/proc/{task}/schedstat").read_text().split()[0]) * 1e-9 for task in tasks}
    except (OSError, ValueError, IndexError):
        return {}


def _wants(task: int) -> bool:
    """Whether a thread runs or waits for a core."""
    try:
        told = Path(f"/proc/{task}/stat").read_bytes()
    except OSError:
        return False
    return told[told.rindex(b")") + 2 :][:1] == b"R"
