"""The points of a life: which of its calls, and what happens there. Pure.

A call changes state: a write, sync, rename, truncation, folder or message to the supervisor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

DURABLE = ("fsync", "fdatasync", "rename", "renameat2", "sendmsg")
"""Calls that are points afterwards too; after any other is before the next."""
FAILING: Final = {
    "EIO": ("fsync", "fdatasync"),
    "ENOSPC": ("write", "pwrite64", "writev", "openat", "mkdir", "mkdirat", "rename", "renameat2", "ftruncate"),
}
"""Calls that a sick disk, or a full one, lets fail."""
What = Literal["before", "after", "EIO", "ENOSPC"]


@dataclass(frozen=True, slots=True)
class Call:
    """One state-changing call: its number in the process's life, its name, the path it is for."""

    number: int
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Point:
    """Where, and what happens there.

    Attributes:
        number: of the call, among those that count: all; for `after` the `DURABLE` ones; for an error its `FAILING`.
        life: one of `LIVES`.
        what: a SIGKILL before or after the call, or the error that it gets.
        cold: the whole server dies.
        spell: the error comes again for two seconds; else once.
        late: the call belongs to the certificate, which comes seconds after all else.
    """

    number: int
    life: str = "instant"
    what: What = "before"
    cold: bool = False
    spell: bool = False
    late: bool = False

    def __str__(self) -> str:
        manner = ("spell" if self.spell else "once") if self.what in FAILING else "cold" if self.cold else "warm"
        return f"{self.life}: {self.what} call {self.number}, {manner}"

    @property
    def names(self) -> tuple[str, ...]:
        """Calls that count; empty: all."""
        return DURABLE if self.what == "after" else FAILING.get(self.what, ())

    def among(self, calls: Sequence[Call]) -> Call | None:
        """The call itself; None when the life had fewer."""
        counted = [call for call in calls if not self.names or call.name in self.names]
        return counted[self.number - 1] if len(counted) >= self.number else None


@dataclass(slots=True)
class Outcome:
    """What became of a point; `call` is None when the life had fewer."""

    point: Point
    call: Call | None
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """All calls of one life that nothing disturbed, in order; those after the first `quick` are the certificate's."""

    life: str
    calls: list[Call]
    quick: int


def points(recorded: Recorded) -> list[Point]:
    """Every SIGKILL of a life, and every error; every fourth is a cold one, or a spell."""
    calls, life = recorded.calls, recorded.life
    found = [Point(call.number, life, late=call.number > recorded.quick) for call in calls]
    for what, names in (("after", DURABLE), *FAILING.items()):
        counted = [call for call in calls if call.name in names]
        found += [Point(n, life, what, late=call.number > recorded.quick) for n, call in enumerate(counted, 1)]  # type: ignore[arg-type]
    return [harder(point) if index % 4 == 3 else point for index, point in enumerate(found)]


def harder(point: Point) -> Point:
    """The same with the whole server's death, or a disk that goes on failing."""
    sick = point.what in FAILING
    return replace(point, cold=not sick, spell=sick)
