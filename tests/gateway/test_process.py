"""The process of a gateway: how it ends, with a test in the place of the supervisor."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

from changeover.settings import Settings
from changeover.supervisor.family import listen
from changeover.testing import PATIENCE
from changeover.transport import board, page
from changeover.transport.link import Kind, Link, LinkClosed, frame, pair

_COMMAND = [sys.executable, "-m", "changeover.gateway.process"]


def test_who_kills_a_gateway_whose_link_has_ended_kills_one_that_has_left() -> None:
    """A link that ended before its process would look like a hang, and the exit code like requests that were cut."""
    ours, theirs = pair()
    holdings = [page.create_page(), page.create_store(), board.create_board(1)]
    doors = [listen("127.0.0.1", 0) for _ in range(2)]
    fds = [*(door.fileno() for door in doors), *holdings]
    gateway = subprocess.Popen([*_COMMAND, str(theirs.fileno()), str(os.getpid())], pass_fds=[theirs.fileno()])
    try:
        link = Link(ours)
        settings = Settings(lame_duck=0.0).to_dict()
        link.send(frame(Kind.WELCOME, {"settings": settings, "index": 0, "member": 1}, fds=fds))
        theirs.close()
        until_it_leaves(link)
    finally:
        gateway.kill()
        code = gateway.wait(PATIENCE)
        link.close()
        for fd in holdings:
            os.close(fd)
        for door in doors:
            door.close()
    assert code == 0


def until_it_leaves(link: Link) -> None:
    """Tell a gateway to stop as soon as it is ready, and wait for the end of its link."""
    readable = select.poll()
    readable.register(link.fileno(), select.POLLIN)
    until = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < until:
            readable.poll(100)
            while (message := link.receive()) is not None:
                if message.kind is Kind.READY:
                    link.send(frame(Kind.STOP))
    except LinkClosed:
        return
    raise AssertionError("it has not left")
