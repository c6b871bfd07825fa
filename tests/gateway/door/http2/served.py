"""A real HTTP/2 door on a real socket in a thread of its own, and the proof's raw client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.door.http2.hpack import encode
from changeover.gateway.door.http2.server import Http2Server
from changeover.gateway.door.limits import Limits

sys.path.insert(0, str(Path(__file__).parents[4] / "benchmarks"))
from grpc_door_wire import Wire

WAIT_SECONDS = 10.0
ECHO, HOLD, LARGE = "/echo.Echo/Echo", "/echo.Echo/Hold", "/echo.Echo/Large"


@dataclass
class Bench:
    """The application under the door: echo, large answers, and calls held until the test answers them."""

    held: list[Call] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    seen: list[Call] = field(default_factory=list)

    def __call__(self, call: Call) -> None:
        """Answer by method."""
        self.seen.append(call)
        method = call.path.rpartition("/")[2]
        if method == "Hold":
            call.abandoned = lambda: self.abandoned.append(call.path)
            self.held.append(call)
        elif method == "Raise":
            raise ValueError("a defect")
        elif method == "Large":
            call.respond((memoryview(bytearray(b"L" * int(bytes(call.body)))),))
        elif method == "Parts":
            call.respond((b"one", memoryview(b"two")), encode([(b"epoch", b"7")]))
        elif method == "Fail":
            call.fail(Status.NOT_FOUND, "no such model: 100 % gone, ü", encode([(b"reason", b"gone")]))
        elif method == "Certified":
            call.respond((b"yes" if call.certified else b"no",))
        else:
            call.respond((call.body,))


class Served:
    """A running door: its port, its application and its event loop."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        self.app = Bench()
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self.sock.getsockname()[1]
        self.server = Http2Server(self.app, self.sock, limits, tls=tls)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.call(self.server.start)

    def wire(self, **options: Any) -> Wire:
        """A fresh raw connection."""
        return Wire(self.port, timeout=WAIT_SECONDS, **options)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the door's thread; returns its value."""

        async def run() -> Any:
            return function()

        return self.begin(run()).result(WAIT_SECONDS)

    def begin(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Start a coroutine on the door's loop; returns its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        """Wait, with a bound, for something to become true."""
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < end, f"{what} did not come true in {WAIT_SECONDS} s"
            time.sleep(0.005)

    def close(self) -> None:
        """Stop at once; the listening socket may have been closed by the test."""
        self.begin(self.server.stop(0.2, last=False, duck_seconds=0.0)).result(WAIT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


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
