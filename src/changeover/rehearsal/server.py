"""A private server: `changeover serve` as a child process, on free ports of loopback, in a folder of its own."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from changeover.errors import DeadlineExceeded, Internal

_READY_WITHIN = 60.0
_STOP_WITHIN = 40.0
_LOG_TAIL = 2000


class PrivateServer:
    """A server that nobody else knows of.

        with PrivateServer(folder, "digits") as server:
            ...                          # server.http_port, server.control_url

    Its folder gets `repository/`, which the caller fills before the start, `state/` and `server.log`. Leaving the
    block stops it, unless `keep` was called.

    Args:
        folder: its own.
        model: that must answer before the start is over.
        arguments: further ones for `changeover serve`.
        settings: further ones by name, as `changeover.yaml` has them.
    """

    def __init__(
        self, folder: Path, model: str, arguments: Sequence[str] = (), settings: Mapping[str, str] | None = None
    ) -> None:
        self.repository = folder / "repository"
        self.log = folder / "server.log"
        self.http_port = self.control_port = 0
        self._folder = folder
        self._model = model
        self._arguments = arguments
        self._settings = {f"CHANGEOVER_{name.upper()}": value for name, value in (settings or {}).items()}
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

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            self.stop()

    def start(self) -> None:
        """Start the server and wait until the model answers.

        Raises:
            Internal: the server ended; the message holds the end of its log.
            DeadlineExceeded: it was not ready after 60 s.
        """
        self.repository.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "changeover.cli", "serve", str(self.repository), "--host", "127.0.0.1"]
        command += ["--http-port", "0", "--grpc-port", "0", "--control-port", "0"]
        command += ["--state-dir", str(self._folder / "state")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHANGEOVER_")}
        environment |= self._settings
        with self.log.open("wb") as log:
            # In a folder of its own: a changeover.yaml of the working directory is another server's.
            self._process = subprocess.Popen(
                [*command, *self._arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
                cwd=self._folder, process_group=0,
            )  # fmt: skip
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
                raise Internal(f"the server did not start: {self.last_words()}", reason="server_ended")
            if self._answers():
                return
            time.sleep(0.05)
        raise DeadlineExceeded(f"the server was not ready after {_READY_WITHIN:.0f} s: {self.last_words()}")

    def _answers(self) -> bool:
        try:
            told = json.loads((self._folder / "state" / "server.json").read_text())
        except (OSError, ValueError):
            return False
        self.http_port, self.control_port = told["http_port"], told["control_port"]
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=2)
        try:
            connection.request("GET", f"/v2/models/{self._model}/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:].strip() or "it wrote nothing"
