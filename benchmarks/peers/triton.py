"""Triton with its Python backend: the server binary that nvidia-pytriton ships, without PyTriton itself."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from peers.environment import Unavailable
from peers.peer import SERVICES, Peer

_CONFIG = """name: "{name}"
backend: "python"
max_batch_size: 0
input [ {{ name: "{input}" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ -1, {width} ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
version_policy: {{ latest: {{ num_versions: 1 }} }}
"""


class Triton(Peer):
    """`tritonserver` in explicit mode; a change is a new version folder and a load request."""

    title = "Triton 2.51, Python backend"
    requirements = ("nvidia-pytriton==0.7.0", "numpy<2")  # with numpy 2 every output is empty
    reported = ("nvidia-pytriton",)
    forms = ("json", "binary")
    change_by = "POST /v2/repository/models/NAME/load"

    def install(self, envs: Path) -> None:
        """Put the stub of this Python into the backend's folder."""
        super().install(envs)
        self._library = _python_library()
        stubs = self._home / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
        if not stubs.is_dir():
            raise Unavailable(f"no stub for Python {sys.version_info.major}.{sys.version_info.minor} in the wheel")
        for file in stubs.iterdir():
            shutil.copy2(file, self._home / "backends" / "python")

    @property
    def _home(self) -> Path:
        assert self.environment is not None
        return self.environment.packages / "pytriton" / "tritonserver"

    def variables(self) -> dict[str, str]:
        """The stub embeds an interpreter: it must find libpython and the environment's packages."""
        assert self.environment is not None
        packages = self.environment.packages
        libraries = f"{packages / 'nvidia_pytriton.libs'}:{self._library}"
        path = f"{self.environment.folder / 'bin'}:{os.environ.get('PATH', '')}"
        return {"PATH": path, "PYTHONPATH": str(SERVICES), "LD_LIBRARY_PATH": libraries}

    def prepare(self, version: int) -> None:
        """A version folder with the model file and the code that runs it."""
        folder = self.folder / "repository" / self.model.name
        (folder / str(version)).mkdir(parents=True)
        (folder / str(version) / "model.onnx").write_bytes(self.model.file(version))
        shutil.copy(SERVICES / "triton_model.py", folder / str(version) / "model.py")
        shutil.copy(SERVICES / "onnx_session.py", folder / str(version))
        dims = ", ".join(map(str, self.model.shape))
        model = self.model
        text = _CONFIG.format(name=model.name, input=model.input, output=model.output, dims=dims, width=model.width)
        (folder / "config.pbtxt").write_text(text)

    def command(self) -> list[str]:
        """HTTP and gRPC on loopback only; no metrics port."""
        self.grpc_port = next(self.more_ports())
        command = [str(self._home / "bin" / "tritonserver"), "--model-repository", str(self.folder / "repository")]
        command += ["--backend-directory", str(self._home / "backends")]
        command += ["--model-control-mode", "explicit", "--load-model", "*"]
        command += ["--backend-config", f"python,shm-region-prefix-name={self._regions}"]
        command += ["--http-address", "127.0.0.1", "--http-port", str(self.port)]
        command += ["--grpc-address", "127.0.0.1", "--grpc-port", str(self.grpc_port)]
        return [*command, "--allow-metrics", "false"]

    @property
    def _regions(self) -> str:
        return f"peer-triton-{os.getpid()}-{self.port}-"

    def stop(self) -> None:
        """Also remove the shared memory that the backend leaves behind when it is ended by force."""
        super().stop()
        if hasattr(self, "port"):
            for region in Path("/dev/shm").glob(f"{self._regions}*"):  # noqa: S108 - where POSIX shared memory is
                region.unlink(missing_ok=True)

    def apply(self, version: int) -> None:
        """Load again: the newest version folder is taken, the one before is unloaded."""
        status, _, data = self.request("POST", f"/v2/repository/models/{self.model.name}/load", b"{}")
        if status != 200:
            raise RuntimeError(f"load of version {version}: {status} {data[:300]!r}")


def _python_library() -> Path:
    """The folder of this Python's shared library."""
    folder = Path(str(sysconfig.get_config_var("LIBDIR")))
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if any(folder.glob(f"lib{name}*.so*")):
        return folder
    if ctypes.util.find_library(name):
        return Path("/usr/lib")
    raise Unavailable(f"no shared library of {name}, which the Python backend embeds")
