"""A server of the demo's own: free ports, a temporary repository that holds version 1, everything else as usual."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from changeover.demo import digits
from changeover.errors import DeadlineExceeded, Internal

PLAN = """\
rollout:
  strategy: instant   # all traffic at once, after the gates
  undo_window: 2s     # short, so that the demo sees the old version released as well
"""
_READY_WITHIN = 30.0
_STOP_WITHIN = 40.0
_LOG_TAIL = 2000


class DemoServer:
    """`changeover serve` as a child process.

        with DemoServer(folder) as server:
            ...                          # server.http_port, server.control_url

    Leaving the block stops it, unless `keep` was called.
    """

    def __init__(self, folder: Path) -> None:
        self.http_port, self.control_port = _free_ports(2)
        self.log = folder / "server.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._kept = False

    @property
    def url(self) -> str:
        """Address of the inference port."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def control_url(self) -> str:
        """Address of the control port."""
        return f"http://127.0.0.1:{self.control_port}"

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid if self._process else 0

    def __enter__(self) -> DemoServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            self.stop()

    def start(self) -> None:
        """Make the repository, start the server, wait until version 1 answers.

        Raises:
            Internal: the server ended; the message holds the end of its log.
            DeadlineExceeded: it was not ready after 30 s.
        """
        repository = self._folder / "repository"
        version = repository / digits.MODEL / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(digits.model_bytes("1"))
        (version.parent / "model.yaml").write_text(PLAN)
        command = [sys.executable, "-m", "changeover.cli", "serve", str(repository)]
        command += ["--http-port", str(self.http_port), "--control-port", str(self.control_port)]
        command += ["--state-dir", str(self._folder / "state")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHANGEOVER_")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, process_group=0
            )
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def keep(self) -> None:
        """Leave the server running after the block."""
        self._kept = True

    def stop(self) -> None:
        """End the server and wait for it; one that does not go is killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise Internal(f"the server did not start: {self._last_words()}", reason="server_ended")
            if self._answers():
                return
            time.sleep(0.05)
        raise DeadlineExceeded(f"the server was not ready after {_READY_WITHIN:.0f} s: {self._last_words()}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=2)
        try:
            connection.request("GET", f"/v2/models/{digits.MODEL}/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-_LOG_TAIL:].strip() or "it wrote nothing"


def _free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that are free at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
