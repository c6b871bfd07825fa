"""A real door on a real socket in a thread of its own, and a client that reads answers byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.limits import Limits
from changeover.gateway.door.listener import DoorServer
from changeover.gateway.door.request import HttpRequest
from tests.gateway.door.running import Running

HEAD = b"content-type: application/octet-stream\r\n"
WAIT_SECONDS = 30.0
"""How long a condition is waited for: a busy machine takes its time."""


def get(path: str = "/", *fields: str, version: str = "1.1") -> bytes:
    """A request without a body."""
    lines = [f"GET {path} HTTP/{version}", "Host: door", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(body: bytes, *fields: str, path: str = "/echo") -> bytes:
    """A request with a sized body."""
    lines = [f"POST {path} HTTP/1.1", "Host: door", f"Content-Length: {len(body)}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


CHUNKED_HEAD = b"POST /echo HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Answer:
    """One answer off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A raw connection to a port of 127.0.0.1."""

    def __init__(self, port: int, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT_SECONDS)
        self.sock.connect(("127.0.0.1", port))
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        self._got = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send everything."""
        self.sock.sendall(data)

    def answer(self, *, bodyless: bool = False) -> Answer:
        """Read one final answer; interim ones are skipped."""
        while True:
            top = self._until(b"\r\n\r\n")
            lines = top.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            if status >= 200:
                break
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = 0 if bodyless else int(headers.get("content-length", "0"))
        return Answer(status, headers, self._exactly(size))

    def interim(self) -> bytes:
        """Read one head as it is."""
        return self._until(b"\r\n\r\n")

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        got, self._got = self._got, b""
        while part := self.sock.recv(65536):
            got += part
        return got

    def ended(self) -> bool:
        """Whether the server ends the connection now, with nothing more to read."""
        try:
            return self._got == b"" and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._got:
            self._more()
        top, _, self._got = self._got.partition(mark)
        return top

    def _exactly(self, size: int) -> bytes:
        parts = [self._got]
        have = len(self._got)
        while have < size:
            part = self.sock.recv(1 << 18)
            assert part, f"the connection ended {size - have} bytes early"
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        self._got = whole[size:]
        return whole[:size]

    def _more(self) -> None:
        part = self.sock.recv(65536)
        assert part, f"the connection ended after {self._got[:80]!r}"
        self._got += part


@dataclass
class Bench:
    """The application under the door: echo, and requests held until the test answers them."""

    held: list[HttpRequest] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    seen: list[HttpRequest] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def admit(self, request: HttpRequest) -> None:
        """Take no body for `/private`."""
        self.asked.append(request.path)
        if request.path == "/private":
            request.respond(401, b"", (b"no",))
        elif request.path == "/raise":
            raise ValueError("a defect")

    def __call__(self, request: HttpRequest) -> None:
        """Answer by path."""
        self.seen.append(request)
        if request.path.startswith("/hold"):
            request.abandoned = lambda: self.abandoned.append(request.path)
            self.held.append(request)
        elif request.path == "/raise":
            raise ValueError("a defect")
        elif request.path.startswith("/later"):
            request.later(self.again)
        elif request.path == "/close":
            request.respond(200, HEAD, (b"bye",), close=True)
        elif request.path == "/certified":
            request.respond(200, HEAD, (b"yes" if request.certified else b"no",))
        elif request.path == "/status":
            request.respond(int(request.query), b"", ())
        elif request.path == "/large":
            request.respond(200, HEAD, (b"L" * int(request.query),))
        elif request.path == "/view":
            request.respond(200, HEAD, (memoryview(bytearray(int(request.query))),))
        else:
            request.respond(200, HEAD, (request.body,))

    def again(self, request: HttpRequest) -> None:
        """Take a request that was put off, with a defect when its path ends so."""
        self.seen.append(request)
        if request.path.endswith("raise"):
            raise ValueError("a defect")
        request.respond(200, HEAD, (b"later",))


class Served(Running[DoorServer]):
    """A running door: its port, its application and its event loop."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        self.app = Bench()
        super().__init__(lambda sock: DoorServer(self.app, sock, Gate(limits), tls=tls), WAIT_SECONDS)

    def client(self, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> Client:
        """A fresh connection."""
        return Client(self.port, receive_buffer, tls)


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None, **limits: Any) -> Iterator[Served]:
    """A door with these limits until the end of the block."""
    served = Served(Limits(**limits), tls)
    try:
        yield served
    finally:
        served.close()
