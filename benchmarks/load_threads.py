"""A small load generator that keeps its own counts: threads with a connection each, one request after the other."""

from __future__ import annotations

import http.client
import threading
import time


class Load:
    """Asks for inferences until it is stopped.

    Attributes:
        answers: times (end, seconds) of good answers.
        errors: other answers; `cut`: requests whose connection broke before the answer, of which nobody knows.
    """

    def __init__(self, port: int, path: str, body: bytes, headers: dict[str, str], threads: int) -> None:
        self.answers: list[tuple[float, float]] = []
        self.errors = self.cut = 0
        self._ask = port, path, body, headers
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        port, path, body, headers = self._ask
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                with self._lock:
                    self.cut += 1
                self._stop.wait(0.01)
                continue
            ended = time.monotonic()
            with self._lock:
                if answer.status == 200:
                    self.answers.append((ended, ended - began))
                else:
                    self.errors += 1
        connection.close()
