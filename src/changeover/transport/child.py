"""How a child process begins its life: bound to its parent's, and introduced by one message. Standard library only."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time

from changeover.transport.link import Frame, Kind, Link, LinkClosed

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_WELCOME_TIMEOUT_MS = 10_000
_ADOPTION_TIMEOUT = 2.0


def bind_to(parent: int) -> None:
    """Be killed when `parent` dies; exit at once when it is dead already.

    In a fresh interpreter between fork and exec: one that only learns of its parent when it has come up outlives it
    by the seconds that this takes on a busy machine.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def die_with(parent: int, fd: int) -> None:
    """Be killed when `parent` dies; exit at once when it is dead already, which hangs up the link `fd`.

    A double-forked child waits here until the supervisor, as subreaper, has adopted it: the signal follows
    the parent at the time of the call.
    """
    link = select.poll()
    link.register(fd, select.POLLHUP)
    deadline = time.monotonic() + _ADOPTION_TIMEOUT
    while os.getppid() != parent:
        late = time.monotonic() > deadline or link.poll(0)
        if late and os.getppid() != parent:  # asked again: on a busy machine seconds may lie between two instructions
            os._exit(1)
        time.sleep(0.0002)
    bind_to(parent)


def introduce(fd: int, parent: int) -> tuple[Link, Frame]:
    """Bind to the parent, open the link and wait for WELCOME."""
    die_with(parent, fd)
    link = Link(socket.socket(fileno=fd))
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    ready.poll(_WELCOME_TIMEOUT_MS)
    message = link.receive()
    if message is None or message.kind is not Kind.WELCOME:
        raise LinkClosed
    return link, message


def arguments() -> tuple[int, int]:
    """Link descriptor and parent's pid, as the supervisor passes them to a fresh interpreter."""
    return int(sys.argv[1]), int(sys.argv[2])
