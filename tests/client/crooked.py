"""A server that answers its requests from a script, and closes connections where the script says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

BREAK = b""
"""In place of an answer: the connection ends."""
SILENCE = b"silence"
"""In place of an answer: the connection stays open, and nothing comes."""


def reply(status: int, body: bytes = b"{}", **headers: str) -> bytes:
    """An answer that ends its connection."""
    fields = {"content-length": str(len(body)), "connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + body


@contextmanager
def nobody() -> Iterator[str]:
    """An address at which nobody listens: its port is taken meanwhile, so that nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


class Crooked:
    """One connection after the other, each with the next answer of the script; the last one is repeated."""

    def __init__(self, *script: bytes) -> None:
        self.seen: list[bytes] = []
        self._script = list(script)
        self._held: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        for connection in self._held:
            connection.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            if not self._answer(connection):
                connection.close()

    def _answer(self, connection: socket.socket) -> bool:
        """Return whether the connection is to be held."""
        request = connection.recv(1 << 16)
        if not request:
            return False
        self.seen.append(request)
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if answer is SILENCE:
            self._held.append(connection)
            return True
        connection.sendall(answer)
        return False
