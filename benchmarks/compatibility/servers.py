"""Both servers with the same models, each behind an HTTP and a gRPC port of 127.0.0.1."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from compatibility.models import Model
from peers.peer import START_WITHIN
from peers.triton import Triton
from rig import INSTANT, Server

_CODE = Path(__file__).parent / "triton_session.py"
_ALL = ("--model-control", "explicit", "--load-model", "*", "--shared-memory", "--gateways", "1")


class Ports(NamedTuple):
    """Where a server listens."""

    http: int
    grpc: int


class Reference(Triton):
    """Triton with several models."""

    @property
    def key(self) -> str:
        """It shares an environment with the other benches."""
        return Triton.__name__.lower()

    def start_with(self, models: list[Model]) -> None:
        """Start it with these, on all cores."""
        self.cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        self.folder = Path(tempfile.mkdtemp(prefix="peer-oracle-"))
        self.port = next(self.more_ports())
        for model in models:
            version = model.lay(self.folder / "repository")
            shutil.copy(_CODE, version / "model.py")
            config = model.config.replace('platform: "onnxruntime_onnx"', 'backend: "python"')
            (version.parent / "config.pbtxt").write_text(config)
        self.launch()
        self._await_ready()

    def stop(self) -> None:
        """Also end what it leaves behind when it dies of a request: its group is its own."""
        group = self.tree.pid if self.tree is not None else None
        super().stop()
        if group is not None:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def prepare(self, version: int) -> None:
        """It is laid out for all models at once."""

    def _await_ready(self) -> None:
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until and self.tree is not None and not self.tree.ended:
            try:
                if self.request("GET", "/v2/health/ready", port=self.port)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"Triton did not become ready: {self.log()}")

    @property
    def path(self) -> str:
        """Of no inference in particular."""
        return "/v2"


@contextmanager
def reference(server: Reference, models: list[Model]) -> Iterator[Ports]:
    """A real Triton, installed before."""
    try:
        server.start_with(models)
        yield Ports(server.port, server.grpc_port)
    finally:
        server.stop()


@contextmanager
def ours(models: list[Model]) -> Iterator[Ports]:
    """Changeover, from this checkout."""
    server = Server({m.name: m.file for m in models}, {m.name: INSTANT for m in models}, _ALL)
    for model in models:
        model.lay(server.folder / "repository")
    with server:
        yield Ports(server.port, server.grpc_port)
