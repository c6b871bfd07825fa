"""LitServe and BentoML: no update mechanism, so that a change is a restart with the other file."""

from __future__ import annotations

from abc import abstractmethod

from peers.peer import SERVICES, START_WITHIN, Peer
from peers.process import reaped_seconds


class _Restarted(Peer):
    """A server that reads which file it serves at its start."""

    restarts = True
    change_by = "restart"

    def prepare(self, version: int) -> None:
        """Write the file beside the others."""
        self._version = version
        (self.folder / f"model-{version}.onnx").write_bytes(self.model.file(version))

    def variables(self) -> dict[str, str]:
        """What to serve."""
        return {
            "PYTHONPATH": str(SERVICES),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(self.folder / "home"),
            "MODEL_FILE": str(self.folder / f"model-{self._version}.onnx"),
            "MODEL_VERSION": str(self._version),
            "MODEL_PATH": self.path,
            "MODEL_PORT": str(self.port),
        }

    def apply(self, version: int) -> None:
        """Stop, start, wait for the first answer."""
        assert self.tree is not None
        used, reaped = self.tree.cpu_seconds(), reaped_seconds()
        self.tree.stop()
        self.lost_cpu += max(0.0, used - (reaped_seconds() - reaped))
        self.launch()
        self.await_version(version, START_WITHIN)

    @abstractmethod
    def command(self) -> list[str]:
        """The server's command line."""


class LitServe(_Restarted):
    """One `LitAPI`, one worker, one API server."""

    title = "LitServe"
    requirements = ("litserve==0.2.19",)
    reported = ("litserve", "fastapi", "uvicorn", "uvloop")

    def command(self) -> list[str]:
        """The script that makes and runs the server."""
        assert self.environment is not None
        return [str(self.environment.python), str(SERVICES / "litserve_app.py")]


class BentoML(_Restarted):
    """One service, one worker."""

    title = "BentoML"
    requirements = ("bentoml==1.4.39",)
    reported = ("bentoml", "starlette", "uvicorn", "uvloop")

    def command(self) -> list[str]:
        """`bentoml serve` of the service class."""
        assert self.environment is not None
        command = [str(self.environment.python), "-m", "bentoml", "serve", "bentoml_service:OnnxService"]
        return [*command, "--working-dir", str(SERVICES), "--host", "127.0.0.1", "--port", str(self.port)]
