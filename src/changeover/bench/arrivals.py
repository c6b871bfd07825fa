"""When requests are due. Pure: it is told the time and never asks for it."""

from __future__ import annotations

import math

import numpy as np

from changeover.bench.spec import LoadSpec

_BLOCK = 4096


class Arrivals:
    """The due times of a run, from `start` to `start + duration_s`, at most `requests` of them.

    Attributes:
        due: the next due time; infinity when there is none left. In a closed loop a caller is due whenever it is free.
        taken: requests handed out so far.
    """

    def __init__(self, spec: LoadSpec, start: float) -> None:
        self.due = start
        self.taken = 0
        # Half a microsecond early: adding up gaps must not make one more request out of a rounding error.
        self._end = start + spec.duration_s - 5e-7
        self._most = spec.requests or math.inf
        self._open = spec.mode == "open"
        self._mean = 1 / spec.rate if self._open else 0.0
        self._random = np.random.default_rng(spec.seed) if spec.arrivals == "poisson" else None
        self._gaps: list[float] = []

    @property
    def done(self) -> bool:
        """No request is due any more."""
        return self.due == math.inf

    def take(self, now: float) -> float | None:
        """Return the due time of a request that is due by `now`, or None."""
        if not self._open:
            self.due = now if now < self._end and self.taken < self._most else math.inf
        due = self.due
        if due > now:
            return None
        self.taken += 1
        if self._open:
            due_next = due + self._gap()
            self.due = due_next if due_next < self._end and self.taken < self._most else math.inf
        return due

    def pace(self, rate: float, now: float) -> None:
        """So many requests a second after the one that is due next, which may come sooner for it."""
        if not self._open or self.done:
            return
        self._mean = 1 / rate
        if self.due > now:
            self.due = min(self.due, now + self._gap())

    def stop(self, now: float) -> None:
        """Make nothing due after `now`; what was due before is still handed out."""
        self._end = min(self._end, now)
        if self.due >= self._end:
            self.due = math.inf

    def _gap(self) -> float:
        if self._random is None:
            return self._mean
        if not self._gaps:
            self._gaps = self._random.exponential(1.0, _BLOCK).tolist()
        return self._gaps.pop() * self._mean
