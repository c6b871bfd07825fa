"""Processes that are none: each setting has a speed, and the machine its noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from changeover.errors import ModelRejected
from changeover.workbench.tuning.wish import Setting


class FakeChild:
    """Answers as a subject would, at once."""

    def __init__(self, stable: FakeStable, setting: Setting, luck: float) -> None:
        self._stable, self._setting, self._luck = stable, setting, luck
        self.ended = False

    def ask(self, patience: float, **asked: Any) -> dict[str, Any]:
        self._stable.asked[self._setting] += asked["do"] == "measure"
        if self._setting in self._stable.broken:
            raise ModelRejected("its process died (SIGSEGV)", reason="setting_crashed")
        if asked["do"] == "weigh":
            return {"bytes": self._stable.memory.get(self._setting, 1 << 20)}
        generator = self._stable.generator
        speed = self._stable.speeds[self._setting] * self._luck * self._stable.weather()
        times = (speed * generator.lognormal(0.0, self._stable.noise, 8)).tolist()
        return {"rows": 8 * asked["rows"], "seconds": sum(times), "times": times}

    def end(self) -> None:
        self.ended = True


class FakeStable:
    """Speeds by setting, seconds of a run.

    Args:
        speeds: of the settings.
        noise: of a run; luck: of a process, as logarithms.
    """

    def __init__(self, speeds: Mapping[Setting, float], noise: float = 0.1, luck: float = 0.0, seed: int = 1) -> None:
        self.speeds, self.noise = dict(speeds), noise
        self.generator = np.random.default_rng(seed)
        self.luck = luck
        self.memory: dict[Setting, int] = {}
        self.broken: set[Setting] = set()
        self.asked: Counter[Setting] = Counter()
        self.started: list[FakeChild] = []
        self.most = 64
        self._children: dict[Setting, FakeChild] = {}
        self._weather = 0.0

    def weather(self) -> float:
        """The whole machine is now faster, now slower."""
        self._weather = 0.95 * self._weather + self.generator.normal(0, 0.05)
        return float(np.exp(self._weather))

    def session_of(self, setting: Setting) -> Setting:
        return setting

    def start(self, setting: Setting) -> tuple[FakeChild, dict[str, Any]]:
        child = FakeChild(self, setting, float(np.exp(self.generator.normal(0, self.luck))))
        self.started.append(child)
        return child, {}

    def child(self, setting: Setting) -> FakeChild:
        if setting not in self._children:
            self._children[setting] = self.start(setting)[0]
        return self._children[setting]

    def memory_of(self, setting: Setting) -> int:
        return self.memory.get(setting, 1 << 20)

    def drop(self, setting: Setting) -> None:
        self._children.pop(setting).end()
