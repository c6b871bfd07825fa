"""The interface of all servers in the comparison, ours included."""

from __future__ import annotations

import http.client
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from changeover.bench.wire import parse_answer
from peers.environment import RUNTIME, Environment, environment
from peers.model import Model
from peers.process import Tree, free_ports
from rig import binary_body, json_body

SERVICES = Path(__file__).parent / "services"
START_WITHIN = 90.0
LATER = 180.0
ANSWER_WITHIN = 10.0
_QUIET = {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Peer(ABC):
    """A server of one model: install, start, change, stop; every start has a folder of its own.

    Attributes:
        title: its name in the tables.
        requirements: what is installed into its environment.
        reported: packages whose versions go into the output.
        forms: the bodies it understands, of `json` and `binary`.
        restarts: a change is a restart, because it has no update mechanism.
        change_by: how a change is done, in words.
        grpc_port: where it speaks gRPC, for those that do.
    """

    title: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]]
    reported: ClassVar[tuple[str, ...]]
    forms: ClassVar[tuple[str, ...]] = ("json",)
    restarts: ClassVar[bool] = False
    change_by: ClassVar[str]
    grpc_port: int

    def __init__(self) -> None:
        self.environment: Environment | None = None
        self.tree: Tree | None = None
        self.lost_cpu = 0.0  # of ended processes, in nobody's account
        self._ports = free_ports()

    @property
    def key(self) -> str:
        """Its name for options, files and JSON."""
        return type(self).__name__.lower()

    def install(self, envs: Path) -> None:
        """Make its environment.

        Raises:
            Unavailable: that is not possible here.
        """
        self.environment = environment(envs, self.key, (*self.requirements, RUNTIME))

    def versions(self) -> dict[str, str]:
        """Installed versions of what counts."""
        assert self.environment is not None
        return self.environment.versions((*self.reported, "onnxruntime", "numpy"))

    def start(self, model: Model, cores: str) -> None:
        """Serve version 1 of `model` on 127.0.0.1; return when it answers, and answers right."""
        self.model, self.cores = model, cores
        self.folder = Path(tempfile.mkdtemp(prefix=f"peer-{self.key}-"))
        self.port = next(self._ports)
        self.prepare(1)
        self.launch()
        self.await_version(1, START_WITHIN)

    def launch(self) -> None:
        """Start the processes."""
        self.tree = Tree(self.command(), self.folder, _QUIET | self.variables(), self.cores)

    def change(self, version: int) -> None:
        """Replace the model by another version; return when the server says that it is done."""
        self.apply(version)

    def stop(self) -> None:
        """End its processes and remove its files. Idempotent."""
        if self.tree is not None:
            self.tree.stop()
            self.tree = None
            shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def prepare(self, version: int) -> None:
        """Lay out a version's files where the server looks for them; not part of the time of a change."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server's command line."""

    @abstractmethod
    def apply(self, version: int) -> None:
        """Make the server take the prepared version."""

    def variables(self) -> dict[str, str]:
        """Its environment variables."""
        return {"PYTHONPATH": str(SERVICES)}

    @property
    def path(self) -> str:
        """Where inference requests go; the same for all."""
        return f"/v2/models/{self.model.name}/infer"

    @property
    def url(self) -> str:
        """The address of the inference endpoint."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def body(self, form: str, sample: int = 0) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a request; the same for all."""
        array = self.model.inputs[sample : sample + 1]
        return (binary_body if form == "binary" else json_body)(self.model.input, array)

    def check(self, form: str, sample: int = 0) -> str:
        """Ask once and compare the values with the version that the answer names; return that version.

        Raises:
            OSError: no answer.
            ValueError: an error answer, or wrong values.
        """
        body, headers = self.body(form, sample)
        status, length, data = self.request("POST", self.path, body, headers)
        if status != 200:
            raise ValueError(f"{self.title}: {status} {data[:300]!r}")
        version, outputs = parse_answer(data, length)
        right = self.model.answers[(int(version) - 1) % 2][sample]
        if not np.allclose(outputs[self.model.output].ravel(), right, atol=self.model.tolerance):
            raise ValueError(f"{self.title}: an answer of version {version} has wrong values")
        return version

    def await_version(self, version: int, seconds: float) -> None:
        """Wait until the server answers with a version.

        Raises:
            RuntimeError: it did not in time, or it ended.
        """
        until, last = time.monotonic() + seconds, "no answer"
        while time.monotonic() < until and self.tree is not None and not self.tree.ended:
            try:
                last = f"version {self.check(self.forms[-1])}"
                if last == f"version {version}":
                    return
            except (OSError, ValueError, http.client.HTTPException) as error:
                last = str(error)
            time.sleep(0.1)
        raise RuntimeError(f"{self.title} did not serve version {version}: {last}; {self.log()}")

    def log(self) -> str:
        """The end of its log."""
        return self.tree.tail() if self.tree is not None else ""

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, port: int = 0
    ) -> tuple[int, int | None, bytes]:
        """One HTTP request: status, length of the JSON part before raw tensors, body."""
        patience = ANSWER_WITHIN if path == self.path else LATER
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=patience)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            length = answer.getheader("Inference-Header-Content-Length")
            return answer.status, int(length) if length else None, answer.read()
        finally:
            connection.close()

    def more_ports(self) -> Iterator[int]:
        """Further free ports for what a server insists on opening."""
        return self._ports
