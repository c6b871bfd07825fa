"""MLServer with a custom runtime; a change goes through its repository API."""

from __future__ import annotations

import json

from peers.peer import Peer


class MLServer(Peer):
    """`mlserver start` with inference in the server's own process, which is its faster mode on one core."""

    title = "MLServer"
    requirements = ("mlserver==1.7.1",)
    reported = ("mlserver", "uvloop")
    change_by = "POST /v2/repository/models/NAME/load"

    def prepare(self, version: int) -> None:
        """A model folder whose settings name the file; the load request reads them again."""
        folder = self.folder / "models" / self.model.name
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"model-{version}.onnx"
        file.write_bytes(self.model.file(version))
        extra = {"answers_as": str(version)}
        settings = {"name": self.model.name, "implementation": "mlserver_runtime.OnnxModel",
                    "parameters": {"uri": str(file), "extra": extra}}  # fmt: skip
        (folder / "model-settings.json").write_text(json.dumps(settings))
        if version == 1:
            self._write_settings()

    def _write_settings(self) -> None:
        grpc, metrics = next(self.more_ports()), next(self.more_ports())
        settings = {"host": "127.0.0.1", "http_port": self.port, "grpc_port": grpc, "metrics_port": metrics,
                    "metrics_endpoint": None, "parallel_workers": 0, "debug": False}  # fmt: skip
        (self.folder / "models" / "settings.json").write_text(json.dumps(settings))

    def command(self) -> list[str]:
        """Serve the folder."""
        assert self.environment is not None
        return [str(self.environment.folder / "bin" / "mlserver"), "start", str(self.folder / "models")]

    def apply(self, version: int) -> None:
        """Load again: the new one is loaded beside the old one, then takes its place."""
        status, _, data = self.request("POST", f"/v2/repository/models/{self.model.name}/load")
        if status != 200:
            raise RuntimeError(f"load of version {version}: {status} {data[:300]!r}")
