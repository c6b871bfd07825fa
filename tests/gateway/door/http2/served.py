"""A real HTTP/2 door on a real socket in a thread of its own, and the proof's raw client."""

from __future__ import annotations

import contextlib
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.fields import Head, Refused, Status
from changeover.gateway.door.http2.hpack import encode
from changeover.gateway.door.http2.server import Http2Server
from changeover.gateway.door.http2.talk import Turn
from changeover.gateway.door.limits import Limits
from tests.gateway.door.running import Running

sys.path.insert(0, str(Path(__file__).parents[4] / "benchmarks"))
from grpc_door_wire import Wire

WAIT_SECONDS = 10.0
ECHO, HOLD, LARGE = "/echo.Echo/Echo", "/echo.Echo/Hold", "/echo.Echo/Large"
SMALL = "/echo.Echo/Small"
"""A call that carries no data: a packed message of it is small."""
TALK = "/echo.Echo/Talk"
"""Of many messages, each of which is a method and a colon before what it asks with."""


@dataclass
class Bench:
    """The application under the door: echo, large answers, and calls held until the test answers them."""

    held: list[Call] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    seen: list[Call] = field(default_factory=list)

    def admit(self, head: Head, certified: bool) -> None:
        """Take nothing in for `Private`."""
        method = head.path.rpartition("/")[2]
        if method == "Private" and not certified:
            raise Refused(Status.UNAUTHENTICATED, "unauthenticated", "who are you?")
        if method == "Raises":
            raise ValueError("a defect")

    def __call__(self, call: Call) -> None:
        """Answer by method."""
        self.seen.append(call)
        method = call.path.rpartition("/")[2]
        body = bytes(call.body)
        if method == "Talk" and b":" in body:
            name, _, body = body.partition(b":")
            method = name.decode()
        if method == "Hold":
            call.abandoned = lambda: self.abandoned.append(call.path)
            self.held.append(call)
        elif method == "Last":
            call.abandoned = lambda: self.abandoned.append(call.path)
            self.held.append(call)
            cast(Turn, call).tell((body,))
        elif method == "Raise":
            raise ValueError("a defect")
        elif method == "Large":
            call.respond((memoryview(bytearray(b"L" * int(body))),))
        elif method == "Parts":
            call.respond((b"one", memoryview(b"two")), encode([(b"epoch", b"7")]))
        elif method == "Fail":
            call.fail(Status.NOT_FOUND, "no such model: 100 % gone, ü", encode([(b"reason", b"gone")]))
        elif method == "Certified":
            call.respond((b"yes" if call.certified else b"no",))
        else:
            call.respond((call.body,))


class Served(Running[Http2Server]):
    """A running door: its port, its application and its event loop."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        self.app = Bench()
        gate = Gate(limits, talks=frozenset((TALK,)), large=frozenset((ECHO, HOLD, TALK)))
        super().__init__(lambda sock: Http2Server(self.app, sock, gate, tls=tls), WAIT_SECONDS)

    def wire(self, **options: Any) -> Wire:
        """A fresh raw connection."""
        return Wire(self.port, timeout=WAIT_SECONDS, **options)


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None, **limits: Any) -> Iterator[Served]:
    """A door with these limits until the end of the block; nothing of the budget is held after it."""
    served = Served(Limits(**limits), tls)
    try:
        yield served
    finally:
        served.close()
    assert served.server.budget_used == 0
    assert served.server.in_flight == 0
