"""Cumulative reports over time: all of the last seconds, and fewer of those before."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """A report with its time (CLOCK_MONOTONIC)."""

    @property
    def at_ns(self) -> int:
        """When."""


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True, slots=True)
class Thinning:
    """All reports of the last `fine_ns` are kept, then one in `coarse_ns`, and none older than `kept_ns`."""

    fine_ns: int
    coarse_ns: int
    kept_ns: int


class Series(Generic[T]):
    """Reports of one source in the order of their times; the last one stays whatever its age."""

    __slots__ = ("_kept", "old", "recent")

    def __init__(self, kept: Thinning) -> None:
        self._kept = kept
        self.old: deque[T] = deque()
        self.recent: deque[T] = deque()

    @property
    def first(self) -> T:
        """The oldest that is still there."""
        return self.old[0] if self.old else self.recent[0]

    @property
    def last(self) -> T:
        """The newest."""
        return self.recent[-1]

    def add(self, point: T) -> None:
        """Take in the next one."""
        self.recent.append(point)
        self.thin(point.at_ns)

    def thin(self, now_ns: int) -> None:
        """Keep less of what is no longer recent."""
        while len(self.recent) > 1 and self.recent[0].at_ns < now_ns - self._kept.fine_ns:
            leaving = self.recent.popleft()
            if not self.old or leaving.at_ns - self.old[-1].at_ns >= self._kept.coarse_ns:
                self.old.append(leaving)
        while len(self.old) > 1 and self.old[1].at_ns < now_ns - self._kept.kept_ns:
            self.old.popleft()

    def before(self, time_ns: int) -> T | None:
        """The last report that is not younger."""
        return next((p for p in chain(reversed(self.recent), reversed(self.old)) if p.at_ns <= time_ns), None)

    def between(self, start_ns: int, end_ns: int) -> tuple[T | None, T | None]:
        """The last reports before the start and before the end."""
        before = after = None
        for point in chain(self.old, self.recent):
            if point.at_ns <= start_ns:
                before = point
            if point.at_ns <= end_ns:
                after = point
        return before, after
