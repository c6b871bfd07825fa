"""Clients on kept connections, and the gateways that hold them."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

from changeover.testing import Server, wait_for

FACTORS = {str(v): float(v + 1) for v in range(1, 60)}


BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]})


def gateways(server: Server) -> list[psutil.Process]:
    """The gateway processes that live."""
    found: list[psutil.Process] = []
    for process in server.processes():
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline()).strip()
            if title == "changeover: gateway" and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def in_service(server: Server, count: int) -> list[psutil.Process]:
    """Wait until so many gateways accept connections, as the controller knows it."""

    def all_ready() -> list[psutil.Process]:
        try:
            told = server.control("GET", "/v1/health")["gateways"]
        except (OSError, http.client.HTTPException, AssertionError):
            return []  # the controller is being replaced
        ready = {g["pid"] for g in told if g["ready"]}
        found = [p for p in gateways(server) if p.pid in ready]
        return found if len(found) == count == len(told) else []

    return wait_for(all_ready, f"{count} gateways in service")


def held_by(process: psutil.Process) -> set[int]:
    """The clients' ports of the connections that a gateway holds."""
    return {c.raddr.port for c in process.net_connections("tcp4") if c.raddr and c.status != "LISTEN"}


@dataclass
class Crowd:
    """Clients that each send on one kept connection, and on the next when that one is gone.

    Attributes:
        broken: the own port of each connection that broke with a request in flight, or before one was sent.
        refused: connections that could not be made.
        wrong: what was no good answer.
    """

    port: int
    clients: int
    answered: int = 0
    broken: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        self.wait_for_answers(2 * self.clients)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def wait_for_answers(self, more: int) -> None:
        """Wait until so many further requests were answered."""
        target = self.answered + more
        wait_for(lambda: self.answered >= target, f"{more} more answers", 60.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                sock = socket.create_connection(("127.0.0.1", self.port), 30)
            except OSError as error:
                self.refused.append(repr(error))
                return
            with sock:
                self._send_on(sock)

    def _send_on(self, sock: socket.socket) -> None:
        """One request after another until the connection ends."""
        port = sock.getsockname()[1]
        head = f"POST /v2/models/m/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {len(BODY)}\r\n\r\n"
        while not self._stop.is_set():
            try:
                sock.sendall((head + BODY).encode())
                answer = http.client.HTTPResponse(sock, method="POST")
                answer.begin()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                self.broken.append(port)
                return
            if answer.status != 200:
                self.wrong.append(f"{answer.status} {body!r}")
                return
            told = json.loads(body)
            values = [v * FACTORS[told["model_version"]] for v in (1.0, 2.0, 3.0, 4.0)]
            if told["outputs"][0]["data"] != values:
                self.wrong.append(body.decode())
            self.answered += 1
            if answer.will_close:
                return
            time.sleep(0.005)  # an open connection, not a flood
