"""Which workers are to live, and the channels between them and the gateways.

The controller says SPAWN and RETIRE once; from then on the supervisor keeps the worker, with or without a
controller. A worker that was ready once is replaced when it dies, and not at once for ever (see `circuit`); one that
never was is the controller's to judge.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import Any

from changeover.supervisor import vitals
from changeover.supervisor.circuit import STABLE_AFTER, Cause, State
from changeover.supervisor.family import Family, Member, Role
from changeover.supervisor.loading import STATES, Loading
from changeover.supervisor.relief import Relief
from changeover.supervisor.watch import Watch
from changeover.transport import channel
from changeover.transport.channel import ChannelSize
from changeover.transport.exits import how
from changeover.transport.link import CONTROLLER, Frame, Kind, LinkClosed, frame

_DYING = 0.2
"""Seconds between the end of a worker's channels and its death, at most."""
_AGAIN = 1.0
"""Seconds until what the machine had no room for is tried again."""
_NAMELESS = 5.0
"""Seconds that a zygote may take for a fork; it needs milliseconds."""
log = logging.getLogger("changeover.supervisor")


class Workers:
    """The loadings and their workers. `later(delay, call)` is the supervisor's timer."""

    def __init__(
        self, family: Family, later: Callable[[float, Callable[[], None]], None], relief: Relief | None = None
    ) -> None:
        self._family = family
        self._later = later
        self.loadings: dict[int, Loading] = {}
        self.carries: Callable[[int], bool] = lambda _: True
        """Whether requests go to a loading; a replacement that nobody waits for loads as quietly as the first one."""
        self._watch = Watch(self.loadings, later)
        self._relief = relief or Relief(later)

    def spawn(self, body: dict[str, Any]) -> None:
        """The controller wants a worker for a loading."""
        number = int(body["loading"])
        if number in self.loadings:
            return
        self.loadings[number] = Loading(number, body["spec"])
        self._watch.begin()
        self._start(number)

    def retire(self, number: int, grace: float) -> None:
        """No worker for this loading any more."""
        loading = self.loadings.get(number)
        if loading is None or loading.retiring:
            return
        loading.retiring = True
        self._refuse_waiting(loading)
        if loading.member is None:  # it was to be replaced
            self._forget(loading)
            body = {"role": Role.WORKER, "member": 0, "pid": None, "loading": number, "code": loading.circuit.code}
            self._tell(Kind.DIED, {**body, "restart": False, "cause": loading.circuit.cause})
            return
        member = loading.member
        self._family.send(member, frame(Kind.STOP))
        self._later(grace, lambda: self._family.kill_if_alive(member, Cause.DENOUNCED))

    def is_retiring(self, member: Member) -> bool:
        """Whether a worker's end was asked for, or is the controller's to judge."""
        loading = self.loadings.get(member.loading or -1)
        return loading is not None and loading.retiring

    def open(self, gateway: Member, number: int, lost: int | None) -> None:
        """A gateway wants a channel; it waits until there is a worker that is ready.

        None is given before: what a worker that still loads has been sent would look as if it were stuck on it.

        `lost` is the worker whose channel it saw end: dead, though perhaps not reaped yet. If it lives all the
        same, it has left the protocol and is killed.
        """
        loading = self.loadings.get(number)
        if loading is None or loading.retiring:
            self._family.send(gateway, frame(Kind.REFUSED, {"loading": number}))
        elif loading.member is None or loading.ready_at is None or loading.size is None:
            loading.waiting.append(gateway.number)
            if loading.circuit.state is not State.CLOSED:
                self._family.send(gateway, frame(Kind.HEALTH, loading.refusal()))
        elif loading.member.number == lost:
            member = loading.member
            loading.waiting.append(gateway.number)
            self._later(_DYING, lambda: self._family.kill_if_alive(member, Cause.DENOUNCED))
        else:
            self._connect(gateway, loading, loading.member, loading.size)

    def show(self, controller: Member, number: int) -> None:
        """The controller wants to read the state of a loading's sequences; without any it gets no descriptor."""
        loading = self.loadings.get(number)
        slab = loading.slab[1:] if loading is not None and loading.slab is not None else ()
        self._family.send(controller, frame(Kind.SLAB, {"loading": number}, target=CONTROLLER, fds=slab))

    def named(self, member: Member) -> None:
        """A worker's pid is known: tell the controller."""
        loading = self.loadings.get(member.loading or -1)
        if loading is None or loading.member is not member:
            return
        if loading.retiring:  # while it was forked: it has done nothing yet that must be ended in order
            member.kill()
            return
        self._relief.watch(member, lambda: loading.member is not member or loading.ready_at is not None)
        self._tell(
            Kind.UP,
            {"role": Role.WORKER, "member": member.number, "pid": member.pid, "loading": loading.number},
        )

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
            loading.reach(STATES.index(body["state"]))
            if body["state"] == "ready":
                self._give_slab(loading, member, body.get("slab"))
                loading.proven(channel.checked_size(body["channels"]), body["signature"], member.started)
                if loading.circuit.cause is not None:
                    self._later(STABLE_AFTER, lambda: self._prove(loading, member))
                self._serve_waiting(loading)
            loading.status = body
        message.target, message.source = CONTROLLER, member.number
        self._family.send(self._family.one(Role.CONTROLLER), message)

    def _give_slab(self, loading: Loading, member: Member, told: object) -> None:
        """Hand the state of the loading's sequences to its worker; it comes before the first channel."""
        try:
            loading.hold_slab(told)
            if loading.slab is not None:
                self._family.send(member, frame(Kind.SLAB, {}, fds=loading.slab[:1]))
        except OSError as error:
            log.error("no state slab for %r can be made or handed over (%s)", loading, error.strerror)  # noqa: TRY400
            member.kill()

    def died(self, member: Member, code: int) -> None:
        """A worker was reaped: replace it, or let it rest."""
        loading = self.loadings.get(member.loading or -1)
        if loading is None or loading.member is not member:
            return
        loading.member = None
        restart = loading.ready_once and not loading.retiring
        cause = self._watch.cause(member, code)
        body = {
            "role": Role.WORKER,
            "member": member.number,
            "pid": member.pid,
            "loading": loading.number,
            "code": code,
            "cause": cause,
        }
        self._tell(Kind.DIED, {**body, "restart": restart})
        if not restart:
            self._refuse_waiting(loading)
            self._forget(loading)
            return
        self._replace(loading, cause, code)

    def _forget(self, loading: Loading) -> None:
        del self.loadings[loading.number]
        loading.end()

    def _replace(self, loading: Loading, cause: Cause, code: int) -> None:
        circuit = loading.circuit
        loading.died(cause, code)
        if circuit.state is State.OPEN:
            log.error("%r: %d workers died soon after they were ready, the last by %s (%s); the circuit is open, "
                      "requests are refused, the next try is in %.0f s",
                      loading, circuit.deaths, how(code), cause, circuit.wait)  # fmt: skip
        self._tell_health(loading, gateways=circuit.state is State.OPEN)
        self._later(circuit.wait, lambda: self._start(loading.number))

    def _prove(self, loading: Loading, member: Member) -> None:
        """The worker that was ready ten seconds ago: does it live?"""
        if loading.member is not member:
            return
        if loading.circuit.state is not State.CLOSED:
            log.info("%r: its worker has been well for %.0f s; the circuit is closed", loading, STABLE_AFTER)
        loading.circuit.proved()
        self._tell_health(loading, gateways=False)

    def _tell_health(self, loading: Loading, *, gateways: bool) -> None:
        """The controller shows it; a gateway refuses at once what an open circuit could only let wait."""
        self._tell(Kind.HEALTH, loading.health())
        for gateway in self._family.of(Role.GATEWAY) if gateways else ():
            self._family.send(gateway, frame(Kind.HEALTH, loading.refusal()))

    def _start(self, number: int) -> None:
        loading = self.loadings.get(number)
        if loading is None or loading.member is not None:
            return
        if loading.retiring:
            self._forget(loading)
            return
        zygote = self._family.one(Role.ZYGOTE)
        if zygote is None or not zygote.ready:
            self._later(0.02, lambda: self._start(number))
            return
        loading.reached, loading.ready_at = -1, None
        loading.base = vitals.private_bytes(zygote.pid) if zygote.pid else 0
        try:
            spec = {**loading.spec, "hurry": loading.ready_once and self.carries(number)}
            member = loading.member = self._family.fork(zygote, Role.WORKER, number, spec)
        except (OSError, LinkClosed) as error:
            log.error("no worker of %r can be started (%r); trying again", loading, error)  # noqa: TRY400
            self._later(_AGAIN, lambda: self._start(number))
            return
        self._later(_NAMELESS, lambda: self._expect_name(zygote, member))
        if loading.ready_once:
            self._later(loading.patience, lambda: self._give_up(loading, member))
        if loading.circuit.state is State.OPEN:
            loading.circuit.tried()
            self._tell_health(loading, gateways=False)

    def _expect_name(self, zygote: Member, member: Member) -> None:
        """A zygote that is stopped or hangs forks nobody; its death takes those it owes along."""
        if member.pid is None and member.number in self._family.members:
            log.error("%r has not forked %r after %.0f s: killed", zygote, member, _NAMELESS)
            self._family.kill_if_alive(zygote, Cause.STOPPED)

    def _give_up(self, loading: Loading, member: Member) -> None:
        """A replacement that is still not ready will not be."""
        if loading.member is member and loading.ready_at is None:
            log.error("%r of %r was not ready after %.0f s: killed", member, loading, loading.patience)
            member.kill(Cause.LOAD_TIMEOUT)

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
        """A fresh channel for this pair of incarnations; no copy stays here. Without room the gateway waits on."""
        body = {
            "loading": loading.number,
            "worker": worker.number,
            "gateway": gateway.number,
            "pid": worker.pid,
            "size": [size.slots, size.input_bytes, size.output_bytes],
            "blameless": loading.blameless,
        }
        try:
            to_read = loading.slab[1:] if loading.slab is not None else ()
            memory, ours, theirs = channel.create(size)
            try:
                self._family.send(worker, frame(Kind.CHANNEL, body, fds=[memory, theirs.fileno()]))
                self._family.send(gateway, frame(Kind.CHANNEL, body, fds=[memory, ours.fileno(), *to_read]))
            finally:
                os.close(memory)
                ours.close()
                theirs.close()
        except OSError as error:
            log.error("no channel from %r to %r can be made (%s); trying again", gateway, worker, error.strerror)  # noqa: TRY400
            loading.waiting.append(gateway.number)
            self._later(_AGAIN, lambda: self._serve_waiting(loading))

    def _tell(self, kind: Kind, body: dict[str, Any]) -> None:
        self._family.send(self._family.one(Role.CONTROLLER), Frame(kind, json.dumps(body).encode(), target=CONTROLLER))
