"""A virtual environment for each peer, made once and kept."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig import say

INSTALL_WITHIN = 900.0
RUNTIME = "onnxruntime==1.31.1"  # the same in all environments


class Unavailable(Exception):
    """A peer cannot be installed or started here; the message says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that is ready."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return next((self.folder / "lib").glob("python3*/site-packages"))

    def versions(self, names: Sequence[str]) -> dict[str, str]:
        """Installed versions of some packages."""
        command = [str(self.python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
        listed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
        found = {entry["name"].lower(): entry["version"] for entry in listed}
        return {name: found[name] for name in names if name in found}


def environment(folder: Path, name: str, requirements: Sequence[str]) -> Environment:
    """Return the environment `name` under `folder`, made if it is not there yet.

    Raises:
        Unavailable: it cannot be made.
    """
    wanted = "\n".join([platform.python_version(), *requirements])
    mark = folder / name / f".ready-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    if not mark.exists():
        say(f"peers: installing {' '.join(requirements)}")
        shutil.rmtree(folder / name, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", str(folder / name)])
        pip = [str(folder / name / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        _run([*pip, "--only-binary", ":all:", *requirements])
        mark.touch()
    return Environment(folder / name)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_WITHIN, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from None
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "ERROR" in line.upper()]
        raise Unavailable((lines or [f"exit code {done.returncode}"])[-1].strip()[:300])
