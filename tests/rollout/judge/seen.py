"""Windows for tests of the judge, made by hand or drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from changeover.telemetry.evidence import Arm, Pairs, Window
from changeover.telemetry.observations import bucket


@dataclass
class Side:
    """One version in one second: how many requests, failures, seconds of each batch of a class, end to end."""

    requests: int = 0
    failures: int = 0
    work: Mapping[int, Sequence[float]] = field(default_factory=dict)
    latency: Sequence[float] = ()
    keys: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def arm(self) -> Arm:
        work = {size: counted(seconds) for size, seconds in self.work.items() if len(seconds)}
        return Arm(self.requests, self.failures, 0, counted(self.latency), work, dict(self.keys))


@dataclass
class Story:
    """Second after second of one rollout."""

    weight: int = 500
    stratum: tuple[int, int, int] = (1, 1, 1)
    busy: float = 0.3
    second: int = 0

    def window(self, candidate: Side, active: Side, pairs: Pairs | None = None, seconds: int = 1) -> Window:
        start, self.second = self.second, self.second + seconds
        span = (start * 10**9, self.second * 10**9)
        arms = (active.arm(), candidate.arm())
        return Window(self.stratum, *span, self.weight, *arms, pairs or Pairs(), self.busy)


def counted(seconds: Sequence[float]) -> dict[int, int]:
    """A histogram as the gateways keep it."""
    return dict(Counter(bucket(value) for value in seconds))


def costs(random: np.random.Generator, number: int, middle: float, spread: float = 0.25) -> list[float]:
    """CPU seconds of some batches: log-normal."""
    return list(middle * np.exp(spread * random.standard_normal(number)))
