"""The server itself, started and stopped as `changeover serve` is."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

import changeover
from changeover.testing.talk import Reply, exchange
from changeover.testing.traces import Outlived, hasten, traces
from changeover.testing.waiting import PATIENCE, PAUSE, wait_for

INSTANT = "rollout: {strategy: instant}\n"
"""The rollouts of models that a test has said nothing else of: it has no seconds for a canary."""
_SOURCE = Path(changeover.__file__).parent.parent
_DECIDED = ("watching", "succeeded", "rolled_back", "failed")


class Server:
    """A running server; a context manager that starts and stops it.

    Args:
        folder: gets `models/` (the repository), `state/` and `server.log`.
        settings: any field of `changeover.settings.Settings`.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.repository = folder / "models"
        self.repository.mkdir(parents=True, exist_ok=True)
        self.state = Path(str(settings.pop("state_dir", folder / "state")))
        self.log = folder / "server.log"
        self.http_port = 0
        self.grpc_port = 0
        self.control_port = 0
        self._settings: dict[str, object] = {"http_port": 0, "grpc_port": 0, "control_port": 0, "gateways": 1}
        self._settings |= {"lame_duck": 0.3, "settle": 0.2}
        self._settings |= settings
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: dict[int, psutil.Process] = {}

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        elif self.running and (code := self.stop()):
            raise AssertionError(f"the server ended with {code}\n{self.tail()}")
        self.assert_nothing_outlives(5.0)

    # -- life ----------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the supervisor lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the processes and wait until the ports are known; nothing serves yet."""
        told = self.state / "server.json"
        told.unlink(missing_ok=True)
        self.launch()
        wait_for(lambda: told.exists() or not self.running, "server.json")
        if not self.running:
            raise RuntimeError(f"the server did not start\n{self.tail()}")
        ports = json.loads(told.read_text())
        self.http_port, self.grpc_port, self.control_port = (ports[f"{p}_port"] for p in ("http", "grpc", "control"))

    def launch(self) -> None:
        """Start the processes, and wait for nothing: what is damaged refuses to start."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CHANGEOVER_")}
        environment["PYTHONPATH"] = os.pathsep.join([str(_SOURCE), environment.get("PYTHONPATH", "")])
        environment |= {f"CHANGEOVER_{name.upper()}": str(value) for name, value in self._settings.items()}
        environment["CHANGEOVER_STATE_DIR"] = str(self.state)
        command = [sys.executable, "-m", "changeover.cli", "serve", str(self.repository)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.log.parent
            )

    def wait_ready(self, patience: float = PATIENCE) -> None:
        """Wait for the end of the first load: `GET /v2/health/ready` says yes."""

        def ready() -> bool:
            if not self.running:
                raise RuntimeError(f"the server ended\n{self.tail()}")
            return self._answers(self.http_port, "/v2/health/ready") and self._answers(self.control_port, "/v1/models")

        wait_for(ready, "the server to be ready", patience)
        self.processes()

    def stop(self, patience: float = PATIENCE) -> int:
        """SIGTERM, and wait; returns the exit code."""
        self.processes()
        self.signal(signal.SIGTERM)
        return self.wait(patience)

    def kill(self) -> None:
        """SIGKILL to the supervisor, which takes everything with it."""
        self.processes()
        if self.running:
            self.signal(signal.SIGKILL)
            self.wait()

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for the supervisor's end; returns the exit code (negative: the signal)."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.wait(patience)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        if self._process is not None:
            self._process.send_signal(number)

    def tail(self, lines: int = 40) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # -- processes -----------------------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it, as it is now."""
        try:
            supervisor = psutil.Process(self.pid)
            found = [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        self._seen.update({p.pid: p for p in found})
        return found

    def titles(self) -> list[str]:
        """What they are called; who has ended meanwhile is left out."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                found.append(" ".join(process.cmdline()).strip())
        return found

    def named(self, what: str) -> psutil.Process:
        """The living process with this title: `gateway`, `controller`, `zygote`, `worker MODEL/VERSION`.

        Raises:
            TimeoutError: there is none within the patience.
        """
        return wait_for(lambda: self.find(what), f"a process called {what!r}")

    def find(self, what: str) -> psutil.Process | None:
        """The same, if there is one now."""
        for process in self.processes():
            try:
                title = " ".join(process.cmdline()).strip()
                if title == f"changeover: {what}" and process.status() != psutil.STATUS_ZOMBIE:
                    return process
            except psutil.Error:
                continue
        return None

    def assert_nothing_outlives(self, patience: float = 1.0) -> None:
        """No process ever seen, no listening socket, no shared-memory file is left.

        Raises:
            Outlived: something is, after `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while left := traces(self._seen.values(), (self.http_port, self.grpc_port, self.control_port)):
            if time.monotonic() > deadline:
                raise Outlived("; ".join(left))
            hasten(self._seen.values())
            time.sleep(PAUSE)

    # -- talk ----------------------------------------------------------------------------------------------

    def get(self, path: str) -> Reply:
        """GET on the inference port."""
        return exchange(self.http_port, "GET", path)

    def infer(self, model: str, request: dict[str, Any], **headers: str) -> Reply:
        """An inference in JSON; `headers` by name with `_` for `-`. `version` is a part of the path."""
        version = headers.pop("version", None)
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return exchange(self.http_port, "POST", path, json.dumps(request).encode(), fields)

    def control(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Ask the control API; returns the JSON of a good answer.

        Raises:
            AssertionError: the answer is an error.
        """
        reply = exchange(self.control_port, method, path, body)
        if reply.status >= 300:
            raise AssertionError(f"{method} {path}: {reply.status} {reply.body.decode(errors='replace')}")
        return reply.json()

    def plan(self, model: str, text: str) -> None:
        """Write a model's plan into the repository; it counts for what is pushed from then on.

        One that says nothing of the rollout is instant.
        """
        if "rollout" not in text:
            text = INSTANT + text.strip().removeprefix("{}")
        folder = self.repository / model
        folder.mkdir(exist_ok=True)
        (folder / "model.yaml").write_text(text)

    def push(self, model: str, onnx: bytes, version: int | None = None) -> dict[str, Any]:
        """Push a version; returns the answer, whose `rollout` names the rollout that began.

        Without a plan of its own (`plan`) the model's rollouts are instant.
        """
        if not (self.repository / model / "model.yaml").exists():
            self.plan(model, INSTANT)
        query = f"?version={version}" if version else ""
        pushed: dict[str, Any] = self.control("POST", f"/v1/models/{model}/versions{query}", onnx)
        return pushed

    def settled(self, rollout: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait until a rollout's switch is decided (`watching` or an end); returns it."""

        def decided() -> dict[str, Any] | None:
            try:
                found: dict[str, Any] = self.control("GET", f"/v1/rollouts/{rollout}")
            except (OSError, http.client.HTTPException, AssertionError):
                return None  # the controller is being replaced
            return found if found["phase"] in _DECIDED else None

        try:
            return wait_for(decided, f"rollout {rollout} to be decided", patience)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.tail()}") from None

    def deploy(self, model: str, onnx: bytes, version: int | None = None) -> dict[str, Any]:
        """Push and wait for the decision; returns the rollout."""
        return self.settled(self.push(model, onnx, version)["rollout"])

    def model(self, name: str) -> dict[str, Any]:
        """A model as the control API shows it."""
        shown: dict[str, Any] = self.control("GET", f"/v1/models/{name}")
        return shown

    @staticmethod
    def _answers(port: int, path: str) -> bool:
        try:
            return exchange(port, "GET", path).status == 200
        except (OSError, http.client.HTTPException):
            return False
