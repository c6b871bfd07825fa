"""Memory and processor time of the server's processes, as the kernel counts them."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

_PAGE: Final = resource.getpagesize()
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PSS_KEPT: Final = 10.0
"""Seconds: to sum up a process's pages takes a millisecond, in which it cannot map any memory."""
_PSS_BUDGET: Final = 0.01
"""Seconds of a reading for such sums, the oldest first: 400 workers have theirs summed up once in some minutes."""


@dataclass(frozen=True, slots=True)
class Process:
    """What one process takes now: bytes, and processor seconds since its start; `pss` None until it was summed up."""

    rss: int
    cpu: float
    pss: int | None = None


class Processes:
    """Reads them; keeps what is dear to read.

    Args:
        proc: of the kernel.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._pss: dict[int, tuple[float, int]] = {}  # when, bytes

    def read(self, pids: Iterable[int]) -> dict[int, Process]:
        """Those of these processes that live."""
        found = {pid: told for pid in pids if (told := self._read(pid)) is not None}
        self._pss = {pid: kept for pid, kept in self._pss.items() if pid in found}
        began = now = monotonic()
        for pid in sorted(found, key=lambda pid: self._pss.get(pid, (0.0, 0))[0]):
            if now - began >= _PSS_BUDGET or now - self._pss.get(pid, (-_PSS_KEPT, 0))[0] < _PSS_KEPT:
                break
            if (summed := self._sum(pid)) is not None:
                self._pss[pid] = now, summed
            now = monotonic()
        return {
            pid: Process(told.rss, told.cpu, self._pss[pid][1]) if pid in self._pss else told
            for pid, told in found.items()
        }

    def _read(self, pid: int) -> Process | None:
        try:
            with open(f"{self._proc}/{pid}/stat", "rb", 0) as file:  # hundreds of them are read
                words = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        return Process(int(words[21]) * _PAGE, (int(words[11]) + int(words[12])) / _TICKS)

    def _sum(self, pid: int) -> int | None:
        try:
            lines = (self._proc / str(pid) / "smaps_rollup").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
