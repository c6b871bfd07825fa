"""What all connections of one door share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from changeover.gateway.door.answer import Stamp
from changeover.gateway.door.budget import Budget
from changeover.gateway.door.head import HeadCache
from changeover.gateway.door.limits import Limits


@dataclass(slots=True)
class Counts:
    """Totals since start.

    Attributes:
        accepted: connections.
        requests: whole requests handed to the application.
        refused: requests the door answered itself (4xx, 5xx).
        shed: of these, 503 for want of budget.
        abandoned: requests whose client went away before the answer.
        expired: connections ended by a time-out.
    """

    accepted: int = 0
    requests: int = 0
    refused: int = 0
    shed: int = 0
    abandoned: int = 0
    expired: int = 0


class Connection(Protocol):
    """What HTTP/1.1 and HTTP/2 connections have in common.

    Attributes:
        deadline: `time.monotonic()` at which `expire` is due.
    """

    deadline: float

    @property
    def quiet_since(self) -> float:
        """When the connection was opened or last had a request."""

    @property
    def busy(self) -> int:
        """Requests with the application."""

    def expire(self) -> None:
        """The deadline is over."""

    def duck(self) -> None:
        """The gateway leaves: tell the client what it can be told before its next answer."""

    def close_if_idle(self) -> None:
        """Close unless a request is in progress or has just arrived."""

    def abort(self) -> None:
        """End the connection at once, answered or not."""


class Gate:
    """Limits, budget, clock and the set of open connections.

    Args:
        limits: what a client may cost.
        budget: shared with the other doors of this gateway; one of its own when not given.
        talks: paths of calls whose clients send many messages, each of which is a call to the application (HTTP/2).
        large: paths of calls whose messages may be large when they are unpacked (HTTP/2).

    Attributes:
        now: `time.monotonic()` at the last tick: exact enough for time-outs, free to read.
        ducking: every answer ends its connection.
    """

    __slots__ = ("budget", "connections", "counts", "ducking", "heads", "large", "limits", "now", "stamp", "talks")

    def __init__(
        self,
        limits: Limits,
        budget: Budget | None = None,
        talks: frozenset[str] = frozenset(),
        large: frozenset[str] = frozenset(),
    ) -> None:
        self.limits = limits
        self.budget = budget or Budget(limits.gateway_bytes)
        self.heads = HeadCache(limits)
        self.stamp = Stamp()
        self.connections: set[Connection] = set()
        self.counts = Counts()
        self.ducking = False
        self.talks = talks
        self.large = large
        self.now = 0.0
        self.tick()

    def tick(self) -> None:
        """Take the time and expire what is due; called every `TICK_SECONDS`."""
        self.now = now = time.monotonic()
        self.stamp.refresh(time.time())
        for door in [door for door in self.connections if door.deadline <= now]:
            door.expire()

    def duck(self) -> None:
        """From now on every answer ends its connection."""
        self.ducking = True
        for door in list(self.connections):
            door.duck()

    def close_idle(self, quiet_seconds: float) -> None:
        """Close connections that have been without a request for `quiet_seconds`."""
        before = time.monotonic() - quiet_seconds
        for door in [door for door in self.connections if door.quiet_since <= before]:
            door.close_if_idle()

    @property
    def in_flight(self) -> int:
        """Requests with the application right now."""
        return sum(door.busy for door in self.connections)
