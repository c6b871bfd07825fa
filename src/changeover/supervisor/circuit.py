"""What a worker's deaths come to: how soon the next one is tried, and when trying at once ends (pure).

A worker that was ready and dies within ten seconds, five times in a row, opens the circuit: from then on one
replacement is tried a period, 10 s growing to 60 s, and nobody waits for it. A life of ten seconds closes it.
A SIGKILL that nobody here sent is no sign of a bad model, and does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

STABLE_AFTER = 10.0
"""Seconds of life after which a death counts as the first one again."""
_OPENS_AT = 5
_PERIOD, _LONGEST_PERIOD = 10.0, 60.0
_MAX_DELAY = 10.0
_KILLED_DELAY = 0.2


class Cause(StrEnum):
    """Why a worker died."""

    CRASHED = "crashed"  # by a signal of its own, or it ended
    KILLED = "killed"  # SIGKILL from outside
    OUT_OF_MEMORY = "out_of_memory"  # the kernel chose it
    MEMORY_LIMIT = "memory_limit"  # over `runtime.memory_limit`
    STOPPED = "stopped"  # SIGSTOP, or the like
    LOAD_TIMEOUT = "load_timeout"  # a replacement that was not ready in time
    DENOUNCED = "denounced"  # a gateway or the controller found it silent or breaking the rules
    MALFORMED = "malformed"  # it sent the supervisor what makes no sense, or left its link


class State(StrEnum):
    """Of the circuit. `HALF_OPEN`: one worker is tried."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


def backoff(deaths: int) -> float:
    """Seconds to wait before the replacement after so many quick deaths: none, then 0.1 s doubling to 10 s."""
    return 0.0 if deaths <= 1 else min(0.1 * 2.0 ** (deaths - 2), _MAX_DELAY)


@dataclass(slots=True)
class Circuit:
    """One loading's.

    Attributes:
        deaths: quick ones in a row that the worker is to blame for.
        cause, code: of the last death.
        wait: seconds from the last death to the next try.
    """

    state: State = State.CLOSED
    deaths: int = 0
    kills: int = 0
    cause: Cause | None = None
    code: int = 0
    wait: float = 0.0

    def died(self, lived: float, cause: Cause, code: int) -> None:
        """A worker died that was ready for `lived` seconds; `wait` says when the next is due."""
        quick = lived < STABLE_AFTER
        self.cause, self.code = cause, code
        if cause is Cause.KILLED:
            self.kills = self.kills + 1 if quick else 1
            self.wait = min(backoff(self.kills), _KILLED_DELAY)
            return
        self.deaths = self.deaths + 1 if quick else 1
        if self.deaths < _OPENS_AT:
            self.state, self.wait = State.CLOSED, backoff(self.deaths)
        else:
            self.state, self.wait = State.OPEN, min(_PERIOD * 2.0 ** (self.deaths - _OPENS_AT), _LONGEST_PERIOD)

    def tried(self) -> None:
        """The next worker was started."""
        if self.state is State.OPEN:
            self.state = State.HALF_OPEN

    def proved(self) -> None:
        """A worker has lived long enough."""
        self.state, self.deaths, self.kills = State.CLOSED, 0, 0

    def to_dict(self, wait: float | None = None) -> dict[str, Any]:
        """What controller and gateways are told (`transport.control.WorkerHealth`)."""
        return {
            "circuit": self.state,
            "deaths": self.deaths,
            "cause": self.cause,
            "code": self.code,
            "wait": self.wait if wait is None else wait,
        }
