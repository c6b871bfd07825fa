"""The tuner's end of a process that runs one setting: asked by lines, never waited for without end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, Final

from changeover.errors import ModelRejected

Document = dict[str, Any]
_COMMAND: Final = "changeover.workbench.tuning.subject"
_CHUNK: Final = 1 << 16
_DYING: Final = 5.0


class Child:
    """One process.

    Args:
        command: of the process, for tests of what goes wrong.

    Raises:
        ModelRejected: there is no process for it (`setting_crashed`).
    """

    def __init__(self, command: list[str] | None = None) -> None:
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            self._process = subprocess.Popen(
                command or [sys.executable, "-m", _COMMAND, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            raise ModelRejected(f"its process cannot be started: {error.strerror}", reason="setting_crashed") from None
        self._read = b""

    def ask(self, patience: float, **asked: Any) -> Document:
        """Send one line and wait for its answer, at most `patience` seconds; then the process is ended.

        Raises:
            ModelRejected: it crashed (`setting_crashed`), did not answer in time (`setting_hung`), or what it says.
        """
        try:
            told = json.loads(self._exchange(json.dumps(asked).encode() + b"\n", time.monotonic() + patience))
        except BrokenPipeError:
            raise self._crashed() from None
        except TimeoutError:
            self.end()
            raise ModelRejected(f"no answer within {patience:.0f} s", reason="setting_hung") from None
        if "failed" in told:
            raise ModelRejected(told["detail"], reason=str(told["failed"]))
        answer: Document = told
        return answer

    def _exchange(self, line: bytes, until: float) -> bytes:
        if self._process.stdin is None or self._process.stdout is None:
            raise BrokenPipeError
        self._process.stdin.write(line)
        self._process.stdin.flush()
        out = self._process.stdout.fileno()
        while b"\n" not in self._read:
            ready, _, _ = select.select([out], [], [], max(until - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            more = os.read(out, _CHUNK)
            if not more:
                raise BrokenPipeError
            self._read += more
        found, _, self._read = self._read.partition(b"\n")
        return found

    def _crashed(self) -> ModelRejected:
        self.end(_DYING)
        code = self._process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ModelRejected(f"its process died ({how})", reason="setting_crashed")

    def end(self, moment: float = 0.0) -> None:
        """End the process; nothing of it stays. One that is dying by itself is given a moment, and tells how."""
        try:
            self._process.wait(moment)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        self._process.wait()
