"""A family of processes that are none: each member's other link end is the test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from changeover.supervisor.family import Family, Member, Role
from changeover.supervisor.workers import Workers
from changeover.transport.link import Kind, Link, frame, pair


class House:
    """The family, the timers that were asked for, and who was killed for which cause."""

    def __init__(self) -> None:
        self.family = Family()
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.ends: dict[int, Link] = {}
        self.killed: list[tuple[int, str]] = []
        self.controller = self.member(Role.CONTROLLER)

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """What a supervisor's timers are."""
        self.timers.append((delay, call))

    def member(self, role: Role, *, ready: bool = False) -> Member:
        """One more."""
        ours, theirs = pair()
        made = self.family._add(role, Link(ours))
        made.ready = ready
        self.ends[made.number] = Link(theirs)
        return made

    def heard(self, member: Member) -> list[tuple[Kind, Any]]:
        """All messages that a member got."""
        found = []
        while (message := self.ends[member.number].receive()) is not None:
            found.append((message.kind, message.json()))
        return found

    def watched(self, member: Member) -> Member:
        """The same; its `kill` only notes who is meant."""
        member.kill = lambda cause="": self.killed.append((member.number, cause))  # type: ignore[method-assign]
        return member


class Crew(House):
    """A house with workers, a zygote that forks them and a gateway that wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.workers = Workers(self.family, self.later)
        self.zygote = self.member(Role.ZYGOTE, ready=True)
        self.gateway = self.member(Role.GATEWAY)

    def worker(self, loading: int) -> Member:
        found = self.workers.loadings[loading].member
        assert found is not None
        return self.watched(found)

    def ready(self, loading: int, pid: int = 4711) -> Member:
        """Spawn a worker, name it, and let it say that it is ready."""
        self.workers.spawn({"loading": loading, "spec": {"model": "m"}})
        return self.up(loading, pid)

    def up(self, loading: int, pid: int, **told: object) -> Member:
        worker = self.worker(loading)
        worker.pid = pid
        self.workers.named(worker)
        size = {"slots": 2, "input_bytes": 64, "output_bytes": 64}
        body = {"loading": loading, "state": "ready", "signature": {"batchable": True}, "channels": size, **told}
        self.workers.status(worker, frame(Kind.STATUS, body))
        return worker
