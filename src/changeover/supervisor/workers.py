"""Which workers are to live, and the channels between them and the gateways.

The controller says SPAWN and RETIRE once; from then on the supervisor keeps the worker, with or without a
controller. A worker that was ready once is replaced when it dies; one that never was is the controller's to judge.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from changeover.supervisor.family import Family, Member, Role
from changeover.transport import channel
from changeover.transport.channel import ChannelSize
from changeover.transport.link import CONTROLLER, Frame, Kind, frame

STABLE_AFTER = 10.0
"""Seconds of life after which a death counts as the first one again."""
_MAX_DELAY = 10.0
_DYING = 0.2
"""Seconds between the end of a worker's channels and its death, at most."""
_STATES = ("verifying", "loading", "validating", "ready", "failed")
"""What a worker reports, in this order."""


def backoff(deaths: int) -> float:
    """Seconds to wait before the replacement after so many quick deaths: none, then 0.1 s doubling to 10 s."""
    return 0.0 if deaths <= 1 else min(0.1 * 2.0 ** (deaths - 2), _MAX_DELAY)


@dataclass(slots=True)
class Loading:
    """A loading that is to have a worker."""

    number: int
    spec: dict[str, Any]
    member: Member | None = None
    size: ChannelSize | None = None
    status: dict[str, Any] | None = None
    ready_once: bool = False
    retiring: bool = False
    deaths: int = 0
    waiting: list[int] = field(default_factory=list)
    reached: int = -1

    def reach(self, state: int) -> None:
        """The present worker goes on to a state, by its place in `_STATES`.

        Raises:
            ValueError: it has been there before: a worker reports each state once.
        """
        if state <= self.reached:
            raise ValueError(f"state {_STATES[state]} after {_STATES[self.reached]}")
        self.reached = state

    def snapshot(self) -> dict[str, Any]:
        """What a new controller needs to know."""
        return {
            "loading": self.number,
            "model": self.spec["model"],
            "member": self.member.number if self.member else None,
            "pid": self.member.pid if self.member else None,
            "retiring": self.retiring,
            "status": self.status,
        }


class Workers:
    """The loadings and their workers. `later(delay, call)` is the supervisor's timer."""

    def __init__(self, family: Family, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._family = family
        self._later = later
        self.loadings: dict[int, Loading] = {}

    def spawn(self, body: dict[str, Any]) -> None:
        """The controller wants a worker for a loading."""
        number = int(body["loading"])
        if number in self.loadings:
            return
        self.loadings[number] = Loading(number, body["spec"])
        self._start(number)

    def retire(self, number: int, grace: float) -> None:
        """No worker for this loading any more."""
        loading = self.loadings.get(number)
        if loading is None or loading.retiring:
            return
        loading.retiring = True
        self._refuse_waiting(loading)
        if loading.member is None:  # it was to be replaced
            del self.loadings[number]
            body = {"role": Role.WORKER, "member": 0, "pid": None, "loading": number, "code": 0, "restart": False}
            self._tell(Kind.DIED, body)
            return
        member = loading.member
        self._family.send(member, frame(Kind.STOP))
        self._later(grace, lambda: self._kill_if_alive(member))

    def is_retiring(self, member: Member) -> bool:
        """Whether a worker's end was asked for, or is the controller's to judge."""
        loading = self.loadings.get(member.loading or -1)
        return loading is not None and loading.retiring

    def open(self, gateway: Member, number: int, lost: int | None) -> None:
        """A gateway wants a channel; it waits while the worker is being replaced.

        `lost` is the worker whose channel it saw end: dead, though perhaps not reaped yet. If it lives all the
        same, it has left the protocol and is killed.
        """
        loading = self.loadings.get(number)
        if loading is None or loading.retiring:
            self._family.send(gateway, frame(Kind.REFUSED, {"loading": number}))
        elif loading.member is None or loading.member.pid is None or loading.size is None:
            loading.waiting.append(gateway.number)
        elif loading.member.number == lost:
            member = loading.member
            loading.waiting.append(gateway.number)
            self._later(_DYING, lambda: self._kill_if_alive(member))
        else:
            self._connect(gateway, loading, loading.member, loading.size)

    def named(self, member: Member) -> None:
        """A worker's pid is known: tell the controller, serve the gateways that wait for it."""
        loading = self.loadings.get(member.loading or -1)
        if loading is None or loading.member is not member:
            return
        if loading.retiring:  # while it was forked: it has done nothing yet that must be ended in order
            member.kill()
            return
        self._tell(
            Kind.UP,
            {"role": Role.WORKER, "member": member.number, "pid": member.pid, "loading": loading.number},
        )
        self._serve_waiting(loading)

    def status(self, member: Member, message: Frame) -> None:
        """A worker reports; the controller gets the same report.

        Raises:
            Internal, KeyError, TypeError, ValueError: it is no report that this worker may give now.
        """
        body = message.json()
        if body["loading"] != member.loading:
            raise ValueError(f"a report on loading {body['loading']}")
        loading = self.loadings.get(member.loading or -1)
        if loading is not None and loading.member is member:
            loading.reach(_STATES.index(body["state"]))
            if body["state"] == "ready":
                loading.size = channel.checked_size(body["channels"])
                loading.spec = {**loading.spec, "verify": False, "signature": body["signature"]}
                loading.ready_once = True
                self._serve_waiting(loading)
            loading.status = body
        message.target, message.source = CONTROLLER, member.number
        self._family.send(self._family.one(Role.CONTROLLER), message)

    def died(self, member: Member, code: int) -> None:
        """A worker was reaped: replace it, or let it rest."""
        loading = self.loadings.get(member.loading or -1)
        if loading is None or loading.member is not member:
            return
        loading.member = None
        restart = loading.ready_once and not loading.retiring
        body = {
            "role": Role.WORKER,
            "member": member.number,
            "pid": member.pid,
            "loading": loading.number,
            "code": code,
        }
        self._tell(Kind.DIED, {**body, "restart": restart})
        if not restart:
            self._refuse_waiting(loading)
            del self.loadings[loading.number]
            return
        quick = monotonic() - member.started < STABLE_AFTER
        loading.deaths = loading.deaths + 1 if quick else 1
        self._later(backoff(loading.deaths), lambda: self._start(loading.number))

    def _start(self, number: int) -> None:
        loading = self.loadings.get(number)
        if loading is None or loading.member is not None:
            return
        if loading.retiring:
            del self.loadings[number]
            return
        zygote = self._family.one(Role.ZYGOTE)
        if zygote is None or not zygote.ready:
            self._later(0.02, lambda: self._start(number))
            return
        loading.reached = -1
        loading.member = self._family.fork(zygote, number, loading.spec)

    def _serve_waiting(self, loading: Loading) -> None:
        waiting, loading.waiting = loading.waiting, []
        for number in waiting:
            gateway = self._family.members.get(number)
            if gateway is not None:
                self.open(gateway, loading.number, None)

    def _refuse_waiting(self, loading: Loading) -> None:
        for number in loading.waiting:
            self._family.send(self._family.members.get(number), frame(Kind.REFUSED, {"loading": loading.number}))
        loading.waiting = []

    def _connect(self, gateway: Member, loading: Loading, worker: Member, size: ChannelSize) -> None:
        """A fresh channel for this pair of incarnations; no copy stays here."""
        memory, ours, theirs = channel.create(size)
        body = {
            "loading": loading.number,
            "worker": worker.number,
            "gateway": gateway.number,
            "size": [size.slots, size.input_bytes, size.output_bytes],
        }
        self._family.send(worker, frame(Kind.CHANNEL, body, fds=[memory, theirs.fileno()]))
        self._family.send(gateway, frame(Kind.CHANNEL, body, fds=[memory, ours.fileno()]))
        os.close(memory)
        ours.close()
        theirs.close()

    def _kill_if_alive(self, member: Member) -> None:
        if member.number in self._family.members:
            member.kill()

    def _tell(self, kind: Kind, body: dict[str, Any]) -> None:
        self._family.send(self._family.one(Role.CONTROLLER), Frame(kind, json.dumps(body).encode(), target=CONTROLLER))
