"""Who had the machine: CPU taken by processes outside the measurement, and what the machine is."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from peers.peer import Peer
from peers.process import reaped_seconds

FOREIGN_LIMIT = 0.05


class Foreign:
    """The share of the whole machine that went to others than one server and the load on it.

    Idle servers of the same run count as others too. Ask for the share when the load's process has been waited for.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._start = time.monotonic()
        self._busy, self._ours = _busy_seconds(), self._own()

    def share(self) -> float:
        """From the construction until now, 0 to 1."""
        elapsed = time.monotonic() - self._start
        others = (_busy_seconds() - self._busy) - (self._own() - self._ours)
        return round(max(0.0, others) / elapsed / (os.cpu_count() or 1), 3)

    def _own(self) -> float:
        tree = self._peer.tree
        theirs = self._peer.lost_cpu + (tree.cpu_seconds() if tree else 0.0)
        return theirs + reaped_seconds() + time.process_time()


def _busy_seconds() -> float:
    """CPU time of the whole machine that was not idle."""
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, object]:
    """The machine, for the output."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpus": os.cpu_count(),
        "processor": processor or platform.machine(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
    }
