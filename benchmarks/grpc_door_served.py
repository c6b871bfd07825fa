"""Servers of the HTTP/2 door's proof as processes, and raw connections to them."""

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
from typing import Any

from door_served import ENVIRONMENT
from grpc_door_wire import Wire

_HERE = Path(__file__).parent
_TICKS = os.sysconf("SC_CLK_TCK")


class GrpcServer:
    """An echo process on a listening socket."""

    def __init__(self, kind: str, *options: str) -> None:
        self.kind = kind
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=1024, reuse_port=kind == "aio")
        self.port: int = self.sock.getsockname()[1]
        self.process = self._start(*options)
        if kind == "aio":
            self.sock.close()
        self._await()

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(_HERE / "grpc_door_echo.py"), str(self.sock.fileno()), self.kind, *options]
        return subprocess.Popen(command, pass_fds=(self.sock.fileno(),), env=ENVIRONMENT)

    def beside(self) -> subprocess.Popen[bytes]:
        """A second process on the same socket; for a server that was made with `--shared`."""
        return self._start("--shared")

    def forget_socket(self) -> None:
        """Close this process's own descriptor of the listening socket."""
        self.sock.close()

    def rss_max_mb(self) -> float:
        """The largest resident size the process ever had."""
        return round(self._status("VmHWM") / 1024, 1)

    def rss_mb(self) -> float:
        """The resident size now."""
        return round(self._status("VmRSS") / 1024, 1)

    def cpu_seconds(self) -> float:
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        self.sock.close()
        self.process.kill()
        self.process.wait()

    def _status(self, name: str) -> int:
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in status.splitlines() if line.startswith(name)), 0)

    def _await(self) -> None:
        """Until the server has sent its SETTINGS."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                probe.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5))
                if probe.recv(9):
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.kind} does not serve")


@contextlib.contextmanager
def served(kind: str, *options: str) -> Iterator[GrpcServer]:
    """A fresh server until the end of the block."""
    server = GrpcServer(kind, *options)
    try:
        yield server
    finally:
        server.close()


def counts(server: GrpcServer) -> dict[str, Any]:
    """The door's own totals."""
    with Wire(server.port) as wire:
        told: dict[str, Any] = json.loads(wire.ask("/echo.Echo/Counts", b""))
        return told
