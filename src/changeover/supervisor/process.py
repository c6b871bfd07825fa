"""The supervisor's process: open sockets, start the others, forward their messages, replace what dies.

When it dies, everything dies at once (PDEATHSIG); when one of the others dies, it comes back and the rest goes on.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any

from changeover.settings import Settings
from changeover.supervisor.circuit import STABLE_AFTER, Cause, backoff
from changeover.supervisor.family import Family, Member, Role
from changeover.supervisor.holdings import Holdings, memory
from changeover.supervisor.links import Links
from changeover.supervisor.provers import Provers
from changeover.supervisor.relief import Relief
from changeover.supervisor.timers import Timers
from changeover.supervisor.workers import Workers
from changeover.transport.exits import EXIT_CONFIGURATION
from changeover.transport.link import CONTROLLER, Frame, Kind, frame

_GATEWAY_BACKOFF = 1.0
"""Seconds that a gateway's successor is held back at most: clients wait in the listening socket for it."""
_LAST_GATEWAYS = 3
_LEAVING = 0.5
"""Seconds that gateways take to leave the listening socket after the lame duck."""
log = logging.getLogger("changeover.supervisor")

Place = tuple[Role, int]
"""A role, and which of its members: a successor takes the place of the dead."""


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code (0: all requests in flight were answered).

    Raises:
        Conflict: another server uses the state folder, or a port is taken.
    """
    return Supervisor(settings).run()


class Supervisor:
    """The parent of all."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.family = Family()
        self.timers = Timers()
        relief = Relief(self.timers.later)
        self.workers = Workers(self.family, self.timers.later, relief)
        self.provers = Provers(self.family, self.timers.later, relief)
        self.stopping = False
        self._deaths: dict[Place, int] = {}
        self._exit: int | None = None
        self._cut = False
        self._last_gateways = _LAST_GATEWAYS
        self._holdings: Holdings
        handlers: dict[Kind, Callable[[Member, Frame], None]] = {
            Kind.READY: self._on_ready,
            Kind.FORKED: self._on_forked,
            Kind.SPAWN: lambda _, f: self.workers.spawn(f.json()),
            Kind.RETIRE: lambda _, f: self._retire(f.json()),
            Kind.PROVE: lambda _, f: self.provers.prove(f.json()),
            Kind.OPEN: lambda m, f: self.workers.open(m, f.json()["loading"], f.json()["lost"]),
            Kind.STATUS: self.workers.status,
            Kind.PROVED: self.provers.proved,
            Kind.SLAB: lambda m, f: self.workers.show(m, int(f.json()["loading"])),
            Kind.KILL: self._on_kill,
            Kind.SHUTDOWN: lambda *_: self._stop(),
        }
        self.links = Links(self.family, self.timers, handlers, self._on_signals)

    def run(self) -> int:
        """The whole life of the server."""
        self._holdings = Holdings(self.settings)
        self.workers.carries = self._holdings.carries
        self.links.hear_signals(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        self._start((Role.ZYGOTE, 0))
        for index in range(self.settings.gateways):
            self._start((Role.GATEWAY, index))
        self._start((Role.CONTROLLER, 0))
        while self._exit is None:
            self.links.turn()
        self.family.end()
        self.links.close()
        return self._exit

    # -- start ---------------------------------------------------------------------------------------------

    def _start(self, place: Place) -> None:
        """Start a member in this place.

        Raises:
            OSError: the machine is out of processes, descriptors or memory.
        """
        role, index = place
        settings = self.settings.to_dict()
        if role is Role.ZYGOTE:
            member = self.family.spawn(role, {}, [])
        elif role is Role.GATEWAY:
            body = {"settings": settings, "index": index}
            member = self.family.spawn(role, body, self._holdings.for_gateway())
            self._tell_controller(Kind.UP, {"role": role, "member": member.number, "pid": member.pid})
        else:
            known = memory(self._loadings())
            body = {"settings": settings, "gateways": self._gateways()}
            try:
                member = self.family.spawn(role, body, self._holdings.for_controller(known))
            finally:
                os.close(known)
        member.index = index
        log.info("started %r", member)

    def _gateways(self) -> list[dict[str, Any]]:
        return [{"member": m.number, "pid": m.pid, "ready": m.ready} for m in self.family.of(Role.GATEWAY)]

    def _loadings(self) -> list[dict[str, Any]]:
        return [loading.snapshot() for loading in self.workers.loadings.values()]

    # -- what members say ----------------------------------------------------------------------------------

    def _on_ready(self, member: Member, _: Frame) -> None:
        member.ready = True
        if member.role is Role.GATEWAY:
            self._tell_controller(Kind.READY, {"member": member.number})

    def _on_forked(self, _: Member, message: Frame) -> None:
        body = message.json()
        dead = self.family.named(body["member"], body["pid"])
        member = self.family.members.get(body["member"])
        if member is not None:
            (self.provers if member.role is Role.PROVER else self.workers).named(member)
        if dead is not None:
            self._on_death(*dead)

    def _retire(self, body: dict[str, Any]) -> None:
        """Neither a worker nor a prover for this loading any more."""
        self.provers.end(body["loading"])
        self.workers.retire(body["loading"], body["grace"])

    def _on_kill(self, sender: Member, message: Frame) -> None:
        body = message.json()
        victim = self.family.members.get(body["member"])
        if victim is not None and victim.role in (Role.WORKER, Role.PROVER, Role.GATEWAY):
            log.error("%r is killed, as %r asked: %s", victim, sender, body["why"])
            victim.kill(Cause.DENOUNCED)

    def _tell_controller(self, kind: Kind, body: dict[str, Any]) -> None:
        message = frame(kind, body, target=CONTROLLER)
        self.family.send(self.family.one(Role.CONTROLLER), message)

    # -- death ---------------------------------------------------------------------------------------------

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
        for member, code in list(self.family.reap()):
            self._on_death(member, code)

    def _on_death(self, member: Member, code: int) -> None:
        """Hear its last words, forget it, and start its successor."""
        self.links.last_words(member)
        self.family.remove(member)
        known = self.provers if member.role is Role.PROVER else self.workers
        expected = self.stopping or known.is_retiring(member)
        log.log(logging.INFO if expected else logging.WARNING, "%r ended with %s", member, code)
        if member.role is Role.WORKER:
            self.workers.died(member, code)
        elif member.role is Role.PROVER:
            self.provers.died(member, code)
        elif code == EXIT_CONFIGURATION:
            self.stopping, self._exit = True, 2
        else:
            body = {"role": member.role, "member": member.number, "pid": member.pid, "code": code}
            self._tell_controller(Kind.DIED, body)
            if member.role is Role.CONTROLLER:
                self.provers.end_all()
            self._replace(member)
        if self.stopping and member.role is Role.GATEWAY:
            self._gateway_left(code)

    def _replace(self, member: Member) -> None:
        if member.role is Role.ZYGOTE:
            children = [*self.family.of(Role.WORKER), *self.family.of(Role.PROVER)]
            for orphan in [m for m in children if m.pid is None]:
                self._on_death(orphan, -signal.SIGKILL)
        place = member.role, member.index
        quick = monotonic() - member.started < STABLE_AFTER
        self._deaths[place] = self._deaths.get(place, 0) + 1 if quick else 1
        self._start_after_pause(place)

    def _start_after_pause(self, place: Place) -> None:
        pause = backoff(self._deaths[place])
        if place[0] is Role.GATEWAY:
            pause = min(pause, _GATEWAY_BACKOFF)
        self.timers.later(pause, lambda: self._start_again(place))

    def _start_again(self, place: Place) -> None:
        """Start a successor; a machine that is out of processes or memory for now is asked again."""
        if self.stopping:
            return
        try:
            self._start(place)
        except OSError as error:
            self._deaths[place] += 1
            log.error("no %s can be started (%s); trying again", place[0], error.strerror)  # noqa: TRY400
            self._start_after_pause(place)

    # -- stop ----------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Gateways answer what is in flight; then the rest ends. A second signal ends everything now."""
        if self.stopping:
            self._exit = 1
            return
        log.info("stopping: answering what is in flight")
        self.stopping = True
        self.timers.later(self.settings.lame_duck + _LEAVING, self._holdings.close_doors)
        self.timers.later(self.settings.lame_duck + self.settings.drain_deadline, self._overdue)
        for gateway in self.family.of(Role.GATEWAY):
            self.family.send(gateway, frame(Kind.STOP))
        if not self.family.of(Role.GATEWAY):  # its successor was to come: clients wait for it
            self._end_unless(self._start_a_last())

    def _gateway_left(self, code: int) -> None:
        """One of those that were told to stop has ended; the others go on, and the last one ends the server."""
        self._cut = self._cut or code != 0  # it cut requests off, or died with them
        if not self.family.of(Role.GATEWAY):
            self._end_unless(code != 0 and self._start_a_last())

    def _start_a_last(self) -> bool:
        """Start a gateway that answers those who wait in the listening sockets and goes; whether there is one."""
        if not self._holdings.open or self._last_gateways == 0:
            return False
        self._last_gateways -= 1
        try:
            self._start((Role.GATEWAY, 0))
        except OSError as error:
            log.error("no last gateway can be started: %s", error.strerror)  # noqa: TRY400
            return False
        self.family.send(self.family.one(Role.GATEWAY), frame(Kind.STOP))
        return True

    def _end_unless(self, going_on: bool) -> None:
        if not going_on and self._exit is None:
            log.info("stopped")
            self._exit = 1 if self._cut else 0

    def _overdue(self) -> None:
        log.error("the drain deadline has passed; ending with requests in flight")
        self._exit = 1
