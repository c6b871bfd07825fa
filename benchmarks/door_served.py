"""Servers of the door's proof as processes, and raw connections to them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(_HERE.parent / "src")}


class Server:
    """One or more echo processes on one listening socket."""

    def __init__(self, kind: str, processes: int = 1, *options: str) -> None:
        self.kind = kind
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.sock.getsockname()[1]
        shared = ["--shared"] if processes > 1 else []
        arguments = [str(self.sock.fileno()), kind, *shared, *options]
        command = [sys.executable, str(_HERE / "door_echo.py"), *arguments]
        fds = (self.sock.fileno(),)
        self.processes = [subprocess.Popen(command, pass_fds=fds, env=ENVIRONMENT) for _ in range(processes)]
        self._await()

    def forget_socket(self) -> None:
        """Close this process's own descriptor of the listening socket."""
        self.sock.close()

    def rss_max_mb(self) -> float:
        """The largest resident size any of the processes ever had."""
        return round(max(_peak_kb(process.pid) for process in self.processes) / 1024, 1)

    def terminate(self, number: int = 0) -> None:
        """SIGTERM to one process."""
        self.processes[number].send_signal(signal.SIGTERM)

    def close(self) -> None:
        self.sock.close()
        for process in self.processes:
            process.kill()
            process.wait()

    def _await(self) -> None:
        with contextlib.closing(Wire(self.port)) as wire:
            wire.ask(b"GET /ok HTTP/1.1\r\nHost: door\r\n\r\n")
        deadline = time.monotonic() + 10
        while len(self.processes) > 1 and len(self._pids()) < len(self.processes):
            assert time.monotonic() < deadline, "not every process takes connections"

    def _pids(self) -> set[bytes]:
        seen = set()
        for _ in range(20):
            with contextlib.closing(Wire(self.port)) as wire:
                seen.add(wire.ask(b"GET /pid HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n")[1])
        return seen


def _peak_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


@contextlib.contextmanager
def served(kind: str, processes: int = 1, *options: str) -> Iterator[Server]:
    """A fresh server until the end of the block."""
    server = Server(kind, processes, *options)
    try:
        yield server
    finally:
        server.close()


class Wire:
    """A raw connection that reads answers."""

    def __init__(self, port: int, receive_buffer: int | None = None, timeout: float = 15.0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self._got = b""

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes | memoryview) -> None:
        self.sock.sendall(data)

    def ask(self, request: bytes) -> tuple[int, bytes]:
        self.send(request)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next final answer; raises OSError when there is none."""
        while True:
            while b"\r\n\r\n" not in self._got:
                self._more()
            head, _, self._got = self._got.partition(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        return status, self._exactly(size)

    def ended(self) -> bool:
        """Whether nothing more comes and the server has closed."""
        try:
            return self._got == b"" and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except OSError:
            return False

    def _more(self) -> None:
        part = self.sock.recv(1 << 18)
        if not part:
            raise ConnectionError("ended before an answer")
        self._got += part

    def _exactly(self, size: int) -> bytes:
        parts, have = [self._got], len(self._got)
        while have < size:
            part = self.sock.recv(1 << 20)
            if not part:
                raise ConnectionError("ended inside an answer")
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        self._got = whole[size:]
        return whole[:size]


def post(body: bytes, path: str = "/echo", *fields: bytes) -> bytes:
    """A request with a sized body."""
    extra = b"".join(field + b"\r\n" for field in fields)
    head = b"POST %b HTTP/1.1\r\nHost: door\r\n%bContent-Length: %d\r\n\r\n" % (path.encode(), extra, len(body))
    return head + body


def counts(server: Server) -> dict[str, int]:
    """The door's own totals."""
    with contextlib.closing(Wire(server.port)) as wire:
        answer: dict[str, int] = json.loads(wire.ask(b"GET /counts HTTP/1.1\r\nHost: door\r\n\r\n")[1])
        return answer
