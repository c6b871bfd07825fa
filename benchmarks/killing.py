"""Killing one process of a role and waiting for its successor."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

import psutil

from changeover.bench.breaks import Kill
from household import Household

ROLES = ("worker", "controller", "gateway", "zygote")
GIVE_UP = 30.0
_POLL = 0.05


@dataclass(slots=True)
class Killed:
    """A kill, and how long its role was short of a process; `None` when it was so until the end."""

    kill: Kill
    back_s: float | None = None


class Killer:
    """Kills, and keeps what it killed. `over` ends every wait, and none for a successor is longer than `patience`."""

    def __init__(
        self, household: Household, chance: random.Random, over: threading.Event, patience: float = GIVE_UP
    ) -> None:
        self._patience = patience
        self._household = household
        self._random = chance
        self._over = over
        self.killed: list[Killed] = []

    def kill(self, role: str, within: float) -> Killed | None:
        """Kill a process of this role at a random moment of the next `within` seconds, and wait for its successor.

        Returns None when there is none just now, or when all is over.
        """
        if self._over.wait(self._random.uniform(0, within)):
            return None
        try:
            pids = self._household.pids(role)
            victim = self._household.kill(self._random.choice(pids), role)
        except (OSError, IndexError, psutil.Error):
            return None
        killed = Killed(victim)
        self.killed.append(killed)
        self._await_successor(killed, 1 if role == "worker" else len(pids))
        return killed

    def _await_successor(self, killed: Killed, wanted: int) -> None:
        while time.monotonic() < killed.kill.at + self._patience:
            pids = self._household.pids(killed.kill.role)
            if sum(pid != killed.kill.pid for pid in pids) >= wanted:
                killed.back_s = time.monotonic() - killed.kill.at
                return
            time.sleep(_POLL)
