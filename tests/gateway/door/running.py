"""A door's server on a real socket, with its event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import uvloop

from changeover.gateway.door.listener import Listener

ServerT = TypeVar("ServerT", bound=Listener[Any])


class Running(Generic[ServerT]):
    """A running server and its port.

    Args:
        make: the server, of a listening socket.
        patience: seconds that a condition is waited for.
    """

    def __init__(self, make: Callable[[socket.socket], ServerT], patience: float) -> None:
        self._patience = patience
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self.sock.getsockname()[1]
        self.server = make(self.sock)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.call(self.server.start)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the door's thread; returns its value."""

        async def run() -> Any:
            return function()

        return self.wait(run())

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the door's loop to its end; returns its value."""
        return self.begin(work).result(self._patience)

    def begin(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Start a coroutine on the door's loop; returns its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        """Wait, with a bound, for something to become true."""
        end = time.monotonic() + self._patience
        while not condition():
            assert time.monotonic() < end, f"{what} did not come true in {self._patience} s"
            time.sleep(0.005)

    def close(self) -> None:
        """Stop at once; the listening socket may have been closed by the test."""
        self.wait(self.server.stop(0.2, last=False, duck_seconds=0.0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self._patience)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
