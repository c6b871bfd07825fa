"""The private link between the supervisor and each process it started.

A `SOCK_SEQPACKET` socket pair: one frame a message, descriptors ride along (SCM_RIGHTS), end of file means
that the peer is dead. Frames with another target than the supervisor are forwarded unread, so the order in
which a process hears of deaths and of messages is one order for all. Standard library only.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from changeover.errors import Internal

SUPERVISOR = 0
CONTROLLER = 0xFFFF_FFFF
"""Target of a frame for whichever controller is in office; dropped when there is none."""
MAX_FRAME = 128 * 1024
_MAX_BACKLOG = 4096
_HEADER = struct.Struct("<IHHQII")
_MAGIC = 0x4B4E4C43
_MAX_FDS = 8


class Kind(IntEnum):
    """What a frame says. The body is JSON; those marked R are relayed between children."""

    WELCOME = 1  # supervisor -> child: who you are, settings, descriptors
    READY = 2  # child -> supervisor: initialised (a gateway: accepting)
    STOP = 3  # supervisor -> child: answer what is in flight, then exit
    FORK = 4  # supervisor -> zygote, with the new child's link
    FORKED = 5  # zygote -> supervisor
    SPAWN = 6  # controller -> supervisor: keep a worker for this loading
    RETIRE = 7  # controller -> supervisor: end the worker of this loading
    OPEN = 8  # gateway -> supervisor: a channel to this loading's worker
    CHANNEL = 9  # supervisor -> gateway and worker, with socket and memory
    REFUSED = 10  # supervisor -> gateway: no such loading any more
    STATUS = 11  # worker -> supervisor, forwarded to the controller
    UP = 12  # supervisor -> controller: a gateway or worker was started
    DIED = 13  # supervisor -> controller: a process was reaped
    KILL = 14  # gateway or controller -> supervisor: this member broke the rules
    HEALTH = 15  # supervisor -> controller and gateways: how the workers of a loading fare
    PROVE = 16  # controller -> supervisor: fork a prover for this loading
    PROVED = 17  # prover -> supervisor, forwarded to the controller
    SAMPLE = 18  # supervisor or R controller -> gateway, with memory: write what was kept of a model's requests there
    SLAB = 19  # supervisor -> worker, with a loading's state slab; controller -> supervisor and back: that one to read
    PREPARE = 20  # R controller -> gateway
    PREPARED = 21  # R gateway -> controller
    COMMITTED = 22  # R controller -> gateway
    ACKNOWLEDGED = 23  # R gateway -> controller
    LEASES = 24  # R gateway -> controller
    OBSERVED = 25  # R gateway -> controller
    ASK = 26  # R gateway -> controller, with a socket for the answer, and memory where there is much to say
    SHUTDOWN = 30  # controller -> supervisor: end the whole server


@dataclass(slots=True)
class Frame:
    """One message. `source` is stamped by the supervisor, never believed from a child."""

    kind: Kind
    body: bytes
    term: int = 0
    source: int = SUPERVISOR
    target: int = SUPERVISOR
    fds: Sequence[int] = ()

    def json(self) -> Any:
        """The body as plain values."""
        return json.loads(self.body)

    def pack(self) -> bytes:
        """Header and body as they travel."""
        return _HEADER.pack(_MAGIC, self.kind, 0, self.term, self.source, self.target) + self.body


def frame(kind: Kind, value: object = None, *, target: int = SUPERVISOR, fds: Sequence[int] = ()) -> Frame:
    """A frame with a JSON body."""
    return Frame(kind, json.dumps(value).encode(), target=target, fds=fds)


class LinkClosed(Exception):
    """The peer is dead, or so far behind that it must be taken for dead."""


class Link:
    """One end of a link: non-blocking, with a bounded backlog for a peer that is slow to read."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._backlog: deque[Frame] = deque()

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self.sock.fileno()

    @property
    def wants_write(self) -> bool:
        """True while frames wait for the peer to read."""
        return bool(self._backlog)

    def send(self, message: Frame) -> None:
        """Send, or keep for `flush` when the peer's buffer is full.

        Raises:
            LinkClosed: the peer is gone or over 4,096 frames behind.
            OSError: there is no room for another descriptor; nothing was sent.
        """
        if len(self._backlog) >= _MAX_BACKLOG:
            raise LinkClosed
        if message.fds:  # the caller may close its copies at once
            message = Frame(
                message.kind,
                message.body,
                message.term,
                message.source,
                message.target,
                _copies(message.fds),
            )
        self._backlog.append(message)
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the peer takes it."""
        while self._backlog:
            message = self._backlog[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", message.fds))] if message.fds else []
            try:
                self.sock.sendmsg([message.pack()], rights, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError as error:
                raise LinkClosed from error
            self._backlog.popleft()
            for fd in message.fds:
                os.close(fd)

    def receive(self) -> Frame | None:
        """The next frame, None when there is none yet.

        Raises:
            LinkClosed: end of file.
            Internal: the peer sent what is no frame (reason `link_malformed`).
        """
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(
                MAX_FRAME, socket.CMSG_SPACE(_MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError as error:
            raise LinkClosed from error
        if not data:
            raise LinkClosed
        fds = _descriptors(ancillary)
        try:
            magic, kind, _, term, source, target = _HEADER.unpack_from(data)
            if magic != _MAGIC or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError
            return Frame(Kind(kind), data[_HEADER.size :], term, source, target, fds)
        except (struct.error, ValueError):
            for fd in fds:
                os.close(fd)
            raise Internal("a process sent a malformed message on its link", reason="link_malformed") from None

    def close(self) -> None:
        """Close this end, and the descriptors of frames that were never sent."""
        for message in self._backlog:
            for fd in message.fds:
                os.close(fd)
        self._backlog.clear()
        self.sock.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new link; the second is the child's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_FRAME)
    return ours, theirs


def _copies(fds: Sequence[int]) -> list[int]:
    """A copy of each, or of none."""
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(os.dup(fd))  # noqa: PERF401 - those made before an error are closed
    except OSError:
        for copy in copies:
            os.close(copy)
        raise
    return copies


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)
