"""A load run in a process of its own, started and read by another program."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from changeover.errors import DeadlineExceeded, Internal
from changeover.scratch import scratch

Document = dict[str, Any]


class BenchProcess:
    """Runs a `LoadSpec` as `python -m changeover.bench`.

        with BenchProcess(spec) as bench:
            ...                       # traffic flows; bench.progress is the last second's
            bench.stop()              # or let duration_s end it
            result = bench.result(timeout=30)

    Leaving the block kills a process that still runs. `on_progress` is called from a reader thread.

    Attributes:
        progress: the latest progress document, None in the first second.
    """

    def __init__(
        self, spec: LoadSpec, *, capacity: bool = False, on_progress: Callable[[Document], None] | None = None
    ) -> None:
        self._spec = spec
        self._capacity = capacity
        self._on_progress = on_progress
        self._folder = scratch("bench")
        self._records_file = self._folder / "records.npz"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._started = threading.Event()
        self._result: Document | None = None
        self.progress: Document | None = None

    def __enter__(self) -> BenchProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, timeout: float = 30.0) -> None:
        """Start the process and wait until it sends.

        Raises:
            Internal: it ended before (its own words are on stderr).
            DeadlineExceeded: it did not begin in time.
        """
        path = self._folder / "spec.npz"
        self._spec.save(path)
        command = [sys.executable, "-m", "changeover.bench", str(path), "--records", str(self._records_file)]
        command += ["--find-capacity"] if self._capacity else []
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=environment, process_group=0
        )
        self._reader = threading.Thread(target=self._read, name="bench-reader", daemon=True)
        self._reader.start()
        if not self._started.wait(timeout):
            self.close()
            raise DeadlineExceeded(f"the load generator did not start in {timeout:.0f} s")
        if self._process.poll() not in (None, 0):
            self.close()
            raise Internal(f"the load generator ended with code {self._process.returncode}")

    def pace(self, rate: float) -> None:
        """Send so many requests a second from now on (open loop).

        Raises:
            ValueError: a rate that is not above 0.
        """
        if not rate > 0:
            raise ValueError(f"an open loop needs a rate above 0, not {rate}")
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended, and `result` says how
                os.write(self._process.stdin.fileno(), f"{rate}\n".encode())

    def stop(self) -> None:
        """Send no more; what is in flight is still waited for. Call `result` afterwards."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def result(self, timeout: float | None = None) -> Document:
        """Wait for the end of the run and return its result document.

        Raises:
            DeadlineExceeded: the run goes on after `timeout` seconds.
            Internal: the process ended without a result.
        """
        if self._reader is None or self._process is None:
            raise Internal("the load generator was not started")
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise DeadlineExceeded(f"the load run goes on after {timeout} s; call stop() first or wait longer")
        code = self._process.wait()
        if self._result is None:
            raise Internal(f"the load generator ended with code {code} and without a result")
        return self._result

    def records(self) -> Records:
        """Return the row of every request; after `result` and before `close`."""
        return Records.load(self._records_file)

    def close(self) -> None:
        """End the process, if it still runs, and remove its files."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            if self._reader is not None:
                self._reader.join()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> None:
        """Take the process' lines until it ends."""
        stream = self._process.stdout if self._process is not None else None
        for line in stream or ():
            document = json.loads(line)
            self._started.set()
            if document["kind"] == "progress":
                self.progress = document
                if self._on_progress is not None:
                    self._on_progress(document)
            elif document["kind"] in ("result", "capacity"):
                self._result = document
        self._started.set()
