"""The listening socket of one gateway: taking connections in, and leaving without losing anybody."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import socket
import ssl
import struct
import time
from abc import ABC, abstractmethod
from typing import Final, Generic, TypeVar

from changeover.gateway.door.gate import Counts, Gate
from changeover.gateway.door.http1 import Http1Door
from changeover.gateway.door.limits import TICK_SECONDS, Limits
from changeover.gateway.door.request import App

_logger = logging.getLogger(__name__)
AppT = TypeVar("AppT")

DUCK_SECONDS: Final = 1.0
"""How long answers say `connection: close` before the port is left."""

_SETTLE_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 0.02
_AT_ONCE: Final = 32
_TURN_CONNECTIONS: Final = 8
_TURN_SECONDS: Final = 0.001
_SO_ATTACH_FILTER: Final = 26
_LOST: Final = frozenset((
    errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM,
))  # fmt: skip
"""Errors of the one connection, not of the socket that listens: accept(2)."""
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Listener(ABC, Generic[AppT]):
    """Takes the connections of an inherited listening socket.

    From a shared socket it takes one connection per readiness, so that several gateways share them evenly.
    All methods belong to the event loop's thread.

    Args:
        app: answers what its connections bring.
        sock: bound and listening; the server closes its descriptor when it leaves.
        gate: what its connections share; one with the usual limits when not given.
        shared: other processes take connections from this socket: take turns with them.
        tls: speak TLS with it; a handshake has the time of a request's head.
    """

    def __init__(
        self,
        app: AppT,
        sock: socket.socket,
        gate: Gate | None = None,
        *,
        shared: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        sock.setblocking(False)
        self._shared = shared
        self._tls = tls
        self._turn = 0
        self._sock = sock
        self._gate = gate or Gate(Limits())
        self._app = app
        self._adopting: set[asyncio.Task[None]] = set()
        self._accepting = False
        self._listening = False
        self._tick_handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    @abstractmethod
    def _new_door(self) -> asyncio.Protocol:
        """The protocol of a connection."""

    def start(self) -> None:
        """Start to take connections; needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._listening = True
        self._tick()

    def lame_duck(self) -> None:
        """From now on every answer ends its connection; new connections are still taken."""
        self._gate.duck()

    async def stop(self, deadline: float, *, last: bool = True, duck_seconds: float = DUCK_SECONDS) -> int:
        """Leave: lame duck, no new connections, answer what is in flight, close what is idle.

        A second call only waits for what is left.

        Args:
            deadline: seconds from now after which the rest is cut off.
            last: no other process takes connections from this socket, so new handshakes are held off
                while the last finished ones are taken in. With other listeners they are left to those.
            duck_seconds: how long to answer with `connection: close` while listening on.

        Returns:
            Requests that were cut off at the deadline.
        """
        until = time.monotonic() + deadline
        self.lame_duck()
        await asyncio.sleep(min(duck_seconds, deadline))
        await self._leave_socket(last)
        hurry = time.monotonic() + max(duck_seconds, DUCK_SECONDS)
        while (self._gate.connections or self._adopting) and time.monotonic() < until:
            self._gate.close_idle(duck_seconds)
            if self._tls is not None and time.monotonic() > hurry:
                self._end_handshakes()
            await asyncio.sleep(_POLL_SECONDS)
        cut = self._gate.in_flight
        self._end_handshakes()
        for door in list(self._gate.connections):
            door.abort()
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        await asyncio.sleep(0)
        return cut

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._gate.connections)

    @property
    def in_flight(self) -> int:
        """Requests with the application."""
        return self._gate.in_flight

    @property
    def budget_used(self) -> int:
        """Bytes of bodies and unsent answers held now."""
        return self._gate.budget.used

    @property
    def counts(self) -> Counts:
        """Totals since start."""
        return self._gate.counts

    def _tick(self) -> None:
        self._gate.tick()
        self._listen()
        self._tick_handle = self._loop.call_later(TICK_SECONDS, self._tick)

    def _listen(self) -> None:
        if self._listening and not self._accepting and self._has_room():
            self._accepting = True
            self._loop.add_reader(self._sock.fileno(), self._accept_some)

    def _has_room(self) -> bool:
        return len(self._gate.connections) + len(self._adopting) < self._gate.limits.connections

    def _accept_some(self) -> None:
        """One connection a readiness where other processes want some too, else several: a turn may be long."""
        for _ in range(1 if self._shared else _AT_ONCE):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Take one connection; returns whether there was one."""
        if not self._has_room():
            self._rest()
            return False
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another gateway was faster, or the client has left again
        except OSError as error:
            if error.errno in _LOST:
                return False
            if error.errno not in _NO_ROOM:
                raise
            _logger.warning("no connection can be taken: %s", os.strerror(error.errno or 0))
            self._rest()
            return False
        self._gate.counts.accepted += 1
        if self._shared:
            self._give_turn()
        task = self._loop.create_task(self._adopt(connection))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)
        return True

    def _rest(self) -> None:
        """Take no connection until the next tick; the kernel keeps them waiting."""
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._sock.fileno())

    def _give_turn(self) -> None:
        """Let the other processes take connections from a crowd: the one that is awake would take all."""
        os.sched_yield()
        self._turn += 1
        if self._turn == _TURN_CONNECTIONS:
            self._turn = 0
            self._rest()
            self._loop.call_later(_TURN_SECONDS, self._listen)

    async def _adopt(self, connection: socket.socket) -> None:
        limits = self._gate.limits
        try:
            if self._tls is None:
                await self._loop.connect_accepted_socket(self._new_door, connection)
            else:
                await self._loop.connect_accepted_socket(
                    self._new_door,
                    connection,
                    ssl=self._tls,
                    ssl_handshake_timeout=limits.header_seconds,
                    ssl_shutdown_timeout=limits.write_seconds,
                )
        except OSError as error:
            _logger.debug("a connection was gone before it could be served: %s", error)
            connection.close()

    def _end_handshakes(self) -> None:
        for task in self._adopting:
            task.cancel()

    async def _leave_socket(self, last: bool) -> None:
        if not self._listening:
            return
        if last and _hold_off_handshakes(self._sock):
            await asyncio.sleep(_SETTLE_SECONDS)  # handshakes under way finish
        self._listening = False
        self._rest()
        while last and self._accept():
            pass
        self._sock.close()


class DoorServer(Listener[App]):
    """Serves HTTP/1.1; the application is called with each whole request."""

    def _new_door(self) -> Http1Door:
        return Http1Door(self._gate, self._app)


def _hold_off_handshakes(sock: socket.socket) -> bool:
    """Drop every further SYN to `sock` in the kernel, and nothing else.

    A SYN that is dropped is sent again after a second and then refused cleanly: its client has sent no
    request. Handshakes under way still finish, so nobody believes in a connection this process never saw.

    Returns:
        Whether the kernel took the filter.
    """
    program = (
        (0x30, 0, 0, 13),  # A := byte 13 of the TCP header, the flags
        (0x54, 0, 0, 0x12),  # A := A & (SYN | ACK)
        (0x15, 0, 1, 0x02),  # SYN alone?
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # keep
    )
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = (ctypes.c_char * len(code)).from_buffer_copy(code)
    header = struct.pack("HL", len(program), ctypes.addressof(buffer))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
    except OSError as error:
        _logger.info("no filter on the listening socket: %s", error)
        return False
    return True
