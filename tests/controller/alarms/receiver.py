"""A receiver of webhooks that does what a test has it do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any, Self


class Receiver:
    """Listens on a port of its own, in threads of its own.

    Attributes:
        moods: what becomes of the next requests, one each; then `ok`. `refuse` ends the connection, `hang` never
            answers, `drip` sends a byte now and then, `500` and the like are statuses, `nonsense` is no HTTP.
        got: bodies of the requests that were answered with 200.
        tried: how many connections came.
    """

    def __init__(self, *moods: str, port: int = 0) -> None:
        self.moods: Iterator[str] = iter(moods)
        self.got: list[Any] = []
        self.tried = 0
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._listen)]

    @property
    def url(self) -> str:
        """Of the receiver."""
        return f"http://127.0.0.1:{self.port}/hook?key=a"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(10)

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.tried += 1
            thread = threading.Thread(target=self._serve, args=(connection, next(self.moods, "ok")))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, mood: str) -> None:
        try:
            self._answer(connection, mood)
        except OSError:
            pass  # the client is gone, as it should be

    def _answer(self, connection: socket.socket, mood: str) -> None:
        with connection, connection.makefile("rb") as stream:
            if mood == "refuse":
                return
            head = dict(
                line.lower().split(b": ", 1) for line in iter(lambda: stream.readline().rstrip(), b"") if b": " in line
            )
            size = int(head.get(b"content-length", 0))
            body = stream.read(size)
            if not size or len(body) < size:
                raise ConnectionError("the client went away while it told")
            if mood == "hang":
                self._over.wait(60)
            elif mood == "drip":
                for byte in b"HTTP/1.1 200 OK\r\n" * 10:
                    if self._over.wait(0.1):
                        break
                    connection.send(bytes([byte]))
            elif mood == "nonsense":
                connection.sendall(b"220 mail ready\r\n\r\n")
            elif mood == "ok":
                self.got.append(json.loads(body))
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            else:
                connection.sendall(b"HTTP/1.1 %s Oh\r\ncontent-length: 0\r\n\r\n" % mood.encode())
