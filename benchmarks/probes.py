"""What goes on beside a load: somebody who asks for health all the time, and connections that mean no good."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

_PATIENCE = 10.0
_TRICKLE = 0.5
_HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: probe\r\ncontent-length: 100000\r\n"


class Poller:
    """Asks one path over and over on a kept connection, `every` seconds; a context manager.

    Attributes:
        milliseconds: of each answer with status 200.
        failed: all others.
    """

    def __init__(self, port: int, path: str, every: float) -> None:
        self.milliseconds: list[float] = []
        self.failed: list[str] = []
        self._where = (port, path, every)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poll {path}", daemon=True)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * _PATIENCE)

    def figures(self) -> dict[str, float]:
        """Count, failures, p99 and maximum (ms)."""
        taken = np.sort(self.milliseconds)
        p99 = float(taken[int(len(taken) * 0.99)]) if len(taken) else float("inf")
        largest = float(taken[-1]) if len(taken) else float("inf")
        return {"asked": len(taken), "failed": len(self.failed), "p99_ms": round(p99, 2), "max_ms": round(largest, 2)}

    def _run(self) -> None:
        port, path, every = self._where
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        while not self._stop.wait(every):
            started = time.monotonic()
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failed.append(str(answer.status))
                    continue
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            self.milliseconds.append((time.monotonic() - started) * 1e3)
        connection.close()


class Round:
    """Asks every one of these paths in turn, `every` seconds, with the same body; a context manager."""

    def __init__(self, port: int, paths: Sequence[str], body: bytes, headers: dict[str, str], every: float) -> None:
        self.answered = 0
        self.failed = 0
        self._asked = (port, paths, body, headers, every)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="round", daemon=True)

    def __enter__(self) -> Round:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * _PATIENCE)

    def _run(self) -> None:
        port, paths, body, headers, every = self._asked
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        while not self._stop.wait(every):
            connection.request("POST", paths[(self.answered + self.failed) % len(paths)], body, headers)
            answer = connection.getresponse()
            answer.read()
            self.answered += answer.status == 200
            self.failed += answer.status != 200
        connection.close()


@contextmanager
def hostile(port: int, idle: int, half_open: int, slow: int) -> Iterator[None]:
    """Connections that say nothing, that ended their side in the middle of a request, and that trickle."""
    with ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), _PATIENCE))

        for _ in range(idle):
            connect()
        for _ in range(half_open):
            halved = connect()
            halved.sendall(_HEAD)
            halved.shutdown(socket.SHUT_WR)
        drips = [connect() for _ in range(slow)]
        stop = threading.Event()
        thread = threading.Thread(target=_trickle, args=(drips, stop), name="trickle", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_PATIENCE)


def _trickle(drips: list[socket.socket], stop: threading.Event) -> None:
    """One byte of a head at a time, on each connection."""
    for byte in _HEAD * 100:
        for drip in drips:
            try:
                drip.send(bytes([byte]))
            except OSError:
                continue  # the server had enough of it
        if stop.wait(_TRICKLE):
            return
