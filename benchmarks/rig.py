"""The rig of all benches: a real server as a child process, `wrk`, and figures as JSON lines."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from changeover.scratch import scratch

INSTANT = "rollout: {strategy: instant, undo_window: 0s, limits: {disagreement: 100%}}\n"
"""At once, and the versions of the benches answer as differently as they like."""
READY_WITHIN = 180.0
STOP_WITHIN = 60.0
PATIENT_S = 120.0
"""A request that waits longer than this has failed. The server gives up after 30 s by itself; this leaves room for a
machine that has become slower than when its capacity was measured, so that its backlog is no failure of the server."""

_missed: list[str] = []


def emit(figure: str, *, met: bool, **values: Any) -> None:
    """Print one figure; one that is not `met` makes the bench fail (`verdict`)."""
    if not met:
        _missed.append(figure)
    print(json.dumps({"figure": figure, "met": met, **values}), flush=True)


def verdict() -> int:
    """Exit code of a bench: 1 when a figure was missed."""
    return 1 if _missed else 0


def say(sentence: str) -> None:
    """Progress for people, on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def median(values: Sequence[float]) -> float:
    """The median, rounded to what a bench may claim."""
    return round(statistics.median(values), 4)


class Server:
    """`changeover serve` on free ports, with a repository and a state folder of its own."""

    def __init__(
        self, models: dict[str, bytes], plans: dict[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self._arguments = arguments
        self.keep_log: Path | None = None
        """Where the server's log is to be found after its end."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: leaving the block ends the server
        self.folder = scratch("bench")
        for name, data in models.items():
            version = self.folder / "repository" / name / "1"
            version.mkdir(parents=True)
            (version / "model.onnx").write_bytes(data)
            (version.parent / "model.yaml").write_text((plans or {}).get(name, INSTANT))
        self._models = list(models)

    def __enter__(self) -> Server:
        command = [sys.executable, "-m", "changeover.cli", "serve", str(self.folder / "repository")]
        command += ["--http-port", "0", "--grpc-port", "0", "--control-port", "0"]
        command += ["--state-dir", str(self.folder / "state")]
        command += self._arguments
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, process_group=0
        )  # Ctrl-C is the bench's to hear, which then ends the server
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_ready(self) -> None:
        until = time.monotonic() + READY_WITHIN
        while time.monotonic() < until:
            try:
                where = json.loads((self.folder / "state" / "server.json").read_text())
                self.port, self.grpc_port, self.control = (where[f"{p}_port"] for p in ("http", "grpc", "control"))
                if all(self.get(f"/v1/models/{name}")["active"] for name in self._models):
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN)
        finally:
            self.process.kill()
            self.log.close()
            if self.keep_log:
                self.keep_log.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.folder / "log", self.keep_log)
            shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, path: str) -> Any:
        """GET from the control port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control}{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: bytes = b"", content_type: str = "application/octet-stream") -> Any:
        """POST to the control port."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control}{path}", body, {"content-type": content_type}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def push(self, name: str, version: int, data: bytes, plan: str = INSTANT) -> str:
        """Push a version; returns its rollout."""
        body = tar({"model.onnx": data, "model.yaml": plan.encode()})
        rollout: str = self.post(f"/v1/models/{name}/versions?version={version}", body, "application/x-tar")["rollout"]
        return rollout

    def finished(self, rollout: str, seconds: float = 60.0) -> Any:
        """Wait for a rollout's end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.get(f"/v1/rollouts/{rollout}")
            if found["phase"] in ("succeeded", "failed", "rolled_back"):
                return found
            time.sleep(0.1)
        raise RuntimeError(f"{rollout} did not end: {found}")

    def certificate(self, rollout: str, seconds: float = 15.0) -> Any:
        """Wait for a certificate."""
        until = time.monotonic() + seconds
        while True:
            try:
                return self.get(f"/v1/rollouts/{rollout}/certificate")
            except urllib.error.HTTPError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


def tar(files: dict[str, bytes]) -> bytes:
    """A tar stream of a few files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


_LUA = """
local file = io.open("{body}", "rb"); wrk.body = file:read("*a"); file:close()
wrk.method = "POST"
{headers}
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{{"requests":%d,"us":%d,"errors":%d,"p50_us":%d,"p99_us":%d}}\\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class Wrk:
    """`wrk` with one body: requests per second and latency of a closed loop."""

    def __init__(self, folder: Path, name: str, body: bytes, headers: dict[str, str]) -> None:
        (folder / f"{name}.body").write_bytes(body)
        lines = "\n".join(f'wrk.headers["{k}"] = "{v}"' for k, v in headers.items())
        self._script = folder / f"{name}.lua"
        self._script.write_text(_LUA.format(body=folder / f"{name}.body", headers=lines))

    def run(self, url: str, *, connections: int, seconds: int) -> dict[str, float]:
        """One run.

        Raises:
            RuntimeError: an answer was missing or not 2xx: such a run counts for nothing.
        """
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(self._script), url]
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
        found: dict[str, float] = json.loads(next(line for line in lines.splitlines() if line.startswith("{")))
        if found["errors"] or not found["requests"]:
            raise RuntimeError(f"{url}: {found}")
        found["per_second"] = found["requests"] / found["us"] * 1e6
        return found


def binary_body(name: str, array: Any) -> tuple[bytes, dict[str, str]]:
    """A request in Triton's binary tensor form for one FP32 input, binary output asked for: body and headers."""
    entry = {"name": name, "shape": list(array.shape), "datatype": "FP32"}
    head = json.dumps({
        "inputs": [{**entry, "parameters": {"binary_data_size": array.nbytes}}],
        "parameters": {"binary_data_output": True},
    }).encode()  # fmt: skip
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return head + array.tobytes(), headers


def json_body(name: str, array: Any) -> tuple[bytes, dict[str, str]]:
    """The same request as JSON."""
    entry = {"name": name, "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}
    return json.dumps({"inputs": [entry]}).encode(), {"Content-Type": "application/json"}


@contextmanager
def child(module: str, *arguments: str) -> Iterator[int]:
    """A bench server of this folder as a child process; it prints its port on its first line."""
    command = [sys.executable, str(Path(__file__).parent / module), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=os.environ)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
