"""Whose connections broke? What a killed process held is told apart from what nobody can explain. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from changeover.bench.records import Break

NOTICED_WITHIN = 5.0
"""Seconds after a kill in which its connections are seen to be cut. Ports are used again, so it has an end."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was killed.

    Attributes:
        at: just before the signal, `time.monotonic`.
        role: `gateway`, `worker`, ...
        held: the clients' ports of the connections that it held.
    """

    at: float
    role: str
    pid: int
    held: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Told:
    """Cut connections, told apart.

    Attributes:
        by_kill: held by a process that had just been killed.
        idle: nothing was asked on them; a server may close these.
        unexplained: a request was on its way, and nothing was killed that held them.
    """

    by_kill: tuple[Break, ...]
    idle: tuple[Break, ...]
    unexplained: tuple[Break, ...]

    @property
    def requests(self) -> int:
        """Requests that were on their way on the connections of killed processes."""
        return sum(cut.busy for cut in self.by_kill)


def tell_apart(breaks: Sequence[Break], kills: Sequence[Kill]) -> Told:
    """Find for each cut connection the kill that explains it: by the port, not only by the time."""
    ordered = sorted(kills, key=lambda kill: kill.at)
    times = [kill.at for kill in ordered]
    by_kill: list[Break] = []
    idle: list[Break] = []
    unexplained: list[Break] = []
    for cut in breaks:
        first = bisect_right(times, cut.at - NOTICED_WITHIN)
        recent = ordered[first : bisect_right(times, cut.at)]
        if any(cut.port in kill.held for kill in recent):
            by_kill.append(cut)
        else:
            (unexplained if cut.busy else idle).append(cut)
    return Told(tuple(by_kill), tuple(idle), tuple(unexplained))
