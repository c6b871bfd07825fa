"""The order in which a sealing reaches the disk, as its system calls show it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lifecycle.onnx_files import linear, write

_SEAL = (
    "import sys; from pathlib import Path; from changeover.lifecycle.seal import seal_folder\n"
    "seal_folder(Path(sys.argv[1]), Path(sys.argv[2]))"
)
_CALLS = "trace=write,fsync,fdatasync,rename,renameat2"
_SYNCHRONISED = re.compile(r"fsync\(\d+<[^>]*?/\.sealing-[^/>]+/?([^>]*)>")


def traced(folder: Path, store: Path, trace: Path) -> list[str]:
    """Writes, synchronisations and renames below the store, in order, each with the path it was for."""
    command = ["strace", "-f", "-y", "-e", _CALLS, "-o", str(trace), sys.executable, "-c", _SEAL]
    try:
        run = subprocess.run([*command, str(folder), str(store)], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if run.returncode:
        pytest.skip("strace may not trace here")
    return [line for line in trace.read_text().splitlines() if str(store) in line]


def test_everything_is_synchronised_before_the_rename(tmp_path: Path) -> None:
    """Each file after its last write, each folder, then one rename, then the store, and nothing written after it."""
    store = tmp_path / "artifacts"
    store.mkdir()
    folder = write(tmp_path / "1", linear(), model_data=b"1" * 100)
    (folder / "golden").mkdir()
    (folder / "golden" / "a.npz").write_bytes(b"golden")
    calls = traced(folder, store, tmp_path / "trace")
    [rename] = [index for index, line in enumerate(calls) if "rename" in line]
    before, after = calls[:rename], calls[rename + 1 :]
    files = ["files/golden/a.npz", "files/model.data", "files/model.onnx", "manifest.json"]
    synchronised = [match[1] for line in before if (match := _SYNCHRONISED.search(line))]
    assert sorted(synchronised) == sorted([*files, "files/golden", "files", ""])
    for name in files:
        last = max(index for index, line in enumerate(before) if "write(" in line and f"/{name}>" in line)
        assert any("fsync" in line and f"/{name}>" in line for line in before[last:])
    assert [line for line in after if re.search(rf"fsync\(\d+<{re.escape(str(store))}>", line)]
    assert not [line for line in after if "write(" in line]
