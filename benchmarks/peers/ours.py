"""Changeover itself, from this checkout; a change is a push."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version as installed
from pathlib import Path

import changeover
from peers.peer import LATER, Peer
from rig import INSTANT, tar


class Changeover(Peer):
    """`changeover serve`: supervisor, controller, gateway and worker, all on the given cores."""

    title = "Changeover"
    requirements = ()
    reported = ()
    forms = ("json", "binary")
    change_by = "POST /v1/models/NAME/versions (push)"

    def install(self, envs: Path) -> None:
        """It runs in the interpreter of the bench."""

    def versions(self) -> dict[str, str]:
        """Of the checkout and its runtime."""
        return {
            "changeover": changeover.__version__,
            "onnxruntime": installed("onnxruntime"),
            "numpy": installed("numpy"),
        }

    def variables(self) -> dict[str, str]:
        """The bench's own search path, so that a checkout needs no installation."""
        return {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}

    def prepare(self, version: int) -> None:
        """The first version comes from the repository; later ones are pushed."""
        if version == 1:
            folder = self.folder / "repository" / self.model.name / "1"
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_bytes(self.model.file(1))
            (folder.parent / "model.yaml").write_text(INSTANT)

    def command(self) -> list[str]:
        """One gateway, the defaults otherwise."""
        self.control, self.grpc_port = next(self.more_ports()), next(self.more_ports())
        command = [sys.executable, "-m", "changeover.cli", "serve", str(self.folder / "repository")]
        command += ["--http-port", str(self.port), "--grpc-port", str(self.grpc_port)]
        command += ["--control-port", str(self.control)]
        return [*command, "--gateways", "1", "--state-dir", str(self.folder / "state")]

    def apply(self, version: int) -> None:
        """Push, and wait for the end of the rollout."""
        files = {"model.onnx": self.model.file(version), "model.yaml": INSTANT.encode()}
        where = f"/v1/models/{self.model.name}/versions?version={version}"
        rollout = self._control("POST", where, tar(files))["rollout"]
        until = time.monotonic() + LATER
        while time.monotonic() < until:
            phase = self._control("GET", f"/v1/rollouts/{rollout}")["phase"]
            if phase == "succeeded":
                return
            if phase in ("failed", "rolled_back"):
                break
            time.sleep(0.05)
        raise RuntimeError(f"{rollout} ended as {phase}")

    def _control(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        headers = {"content-type": "application/x-tar"} if body else {}
        status, _, data = self.request(method, path, body, headers, self.control)
        if status >= 300:
            raise RuntimeError(f"{path}: {status} {data[:300]!r}")
        found: dict[str, str] = json.loads(data)
        return found
