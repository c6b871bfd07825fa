"""What is to happen later, in the one thread that there is."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from time import monotonic


class Timers:
    """Calls with their times; equal times go in the order in which they were asked for."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Call after `delay` seconds."""
        heapq.heappush(self._heap, (monotonic() + delay, next(self._count), call))

    def pause(self) -> float | None:
        """Seconds until the next call, None when there is none."""
        return max(0.0, self._heap[0][0] - monotonic()) if self._heap else None

    def run(self) -> None:
        """Make the calls whose time has come."""
        while self._heap and self._heap[0][0] <= monotonic():
            heapq.heappop(self._heap)[2]()
