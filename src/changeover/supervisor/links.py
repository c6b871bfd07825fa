"""The links to all members: who may say what, hearing them one after another, and handing on what is for others."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Mapping

from changeover.errors import ChangeoverError
from changeover.supervisor.circuit import Cause
from changeover.supervisor.family import Family, Member, Role
from changeover.supervisor.timers import Timers
from changeover.transport.link import CONTROLLER, Frame, Kind, LinkClosed

_SPEAKS: dict[Role, tuple[Kind, ...]] = {
    Role.CONTROLLER: (
        Kind.SPAWN,
        Kind.RETIRE,
        Kind.PROVE,
        Kind.SLAB,
        Kind.OPEN,
        Kind.KILL,
        Kind.SHUTDOWN,
        Kind.PREPARE,
        Kind.COMMITTED,
        Kind.SAMPLE,
    ),
    Role.GATEWAY: (
        Kind.READY,
        Kind.OPEN,
        Kind.KILL,
        Kind.PREPARED,
        Kind.ACKNOWLEDGED,
        Kind.LEASES,
        Kind.OBSERVED,
        Kind.ASK,
    ),
    Role.ZYGOTE: (Kind.READY, Kind.FORKED),
    Role.WORKER: (Kind.STATUS,),
    Role.PROVER: (Kind.PROVED,),
}
"""What each role may say; workers and provers run other people's files, so they must not speak as a controller."""
_CARRIES: dict[Kind, int] = {Kind.ASK: 2, Kind.SAMPLE: 1}
"""Descriptors that go along with a relayed message, at most; any other has none."""
_NONSENSE = (ChangeoverError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What a malformed message comes to, wherever it is noticed."""
_AT_ONCE = 64
_DYING = 0.5
"""Seconds between the end of a member's link and its death, at most."""
log = logging.getLogger("changeover.supervisor")

Handlers = Mapping[Kind, Callable[[Member, Frame], None]]


class Links:
    """Waits for what members and signals say.

    Args:
        handlers: what the supervisor itself does with a frame; others go to their target unread.
        on_signals: takes the numbers of signals that arrived.
    """

    def __init__(self, family: Family, timers: Timers, handlers: Handlers, on_signals: Callable[[bytes], None]) -> None:
        self._family = family
        self._timers = timers
        self._handlers = handlers
        self._on_signals = on_signals
        self._selector = selectors.DefaultSelector()
        self._signals: socket.socket | None = None

    def hear_signals(self, *numbers: signal.Signals) -> None:
        """From now on these signals are heard as messages are."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        self._signals = reader
        self._selector.register(reader, selectors.EVENT_READ, None)

    def turn(self) -> None:
        """Wait for one thing to happen and handle it."""
        for member in self._family.members.values():  # new workers were forked meanwhile, backlogs come and go
            self._watch(member)
        for key, events in self._selector.select(self._timers.pause()):
            if key.data is None:
                self._on_signals(self._received())
            elif key.data.number in self._family.members:
                self.serve(key.data, events)
        self._timers.run()

    def _watch(self, member: Member) -> None:
        if member.muted:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.link.wants_write else 0)
        key = self._selector.get_map().get(member.link.fileno())
        if key is None:
            self._selector.register(member.link, events, member)
        elif key.events != events:
            self._selector.modify(member.link, events, member)

    def _received(self) -> bytes:
        return self._signals.recv(4096) if self._signals is not None else b""

    def serve(self, member: Member, events: int) -> None:
        """Read what a member says; one that cannot be understood is killed."""
        try:
            if events & selectors.EVENT_WRITE:
                member.link.flush()
            if events & selectors.EVENT_READ:
                for _ in range(_AT_ONCE):  # others are waiting too
                    message = member.link.receive()
                    if message is None:
                        return
                    self._handle(member, message)
        except LinkClosed:
            self.mute(member)
            self._timers.later(_DYING, lambda: self._family.kill_if_alive(member, Cause.MALFORMED))
        except _NONSENSE as error:
            log.error("%r sent nonsense and is killed: %s", member, error)  # noqa: TRY400 - no trace: the child is at fault
            member.kill(Cause.MALFORMED)

    def last_words(self, member: Member) -> None:
        """Hear what a dead member said last, and then no more."""
        try:
            while (message := member.link.receive()) is not None:
                self._handle(member, message)
        except (LinkClosed, *_NONSENSE):
            pass
        self.mute(member)

    def mute(self, member: Member) -> None:
        """Stop listening to a link at its end; the process itself is judged by waitpid."""
        member.muted = True
        try:
            self._selector.unregister(member.link)
        except (KeyError, ValueError):
            pass

    def _handle(self, member: Member, message: Frame) -> None:
        """Act on a frame, or hand it on to its target.

        Raises:
            ValueError: nothing that a member of this role may say.
        """
        try:
            if len(message.fds) > _CARRIES.get(message.kind, 0) or message.kind not in _SPEAKS[member.role]:
                raise ValueError(
                    f"a {member.role} may not send {message.kind.name} with {len(message.fds)} descriptors"
                )
            message.source = member.number
            self._hand_on(member, message)
        finally:
            for fd in message.fds:  # a link sends copies
                os.close(fd)

    def _hand_on(self, member: Member, message: Frame) -> None:
        handler = self._handlers.get(message.kind)
        if handler is not None:
            handler(member, message)
        elif message.target == CONTROLLER:
            self._relay(self._family.one(Role.CONTROLLER), message)
        else:
            self._relay(self._family.members.get(message.target), message)

    def _relay(self, target: Member | None, message: Frame) -> None:
        try:
            self._family.send(target, message)
        except OSError as error:  # whoever asked sees its socket end
            log.error("no room to hand on a %s: %s", message.kind.name, error.strerror)  # noqa: TRY400

    def close(self) -> None:
        """Hear nothing any more."""
        self._selector.close()
        if self._signals is not None:
            signal.set_wakeup_fd(-1)
            self._signals.close()
