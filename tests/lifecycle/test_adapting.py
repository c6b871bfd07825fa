"""What the process that adapts a model does with the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import onnx
import pytest

from changeover.errors import ModelRejected
from changeover.lifecycle.adapting import REFUSED, Refusal, adapted_bytes
from tests.interface.adapting import steps
from tests.lifecycle.onnx_files import linear, write


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    """A digest over them means something."""
    folder = write(tmp_path / "1", linear().SerializeToString())
    given = steps({"cast": {"x": "FP16"}})
    made = adapted_bytes(folder, given)
    assert made == adapted_bytes(folder, given)
    assert [value.name for value in onnx.load_model_from_string(made).graph.input] == ["x"]


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """With the reason that the gate would give."""
    with pytest.raises(ModelRejected) as caught:
        adapted_bytes(write(tmp_path / "1", b""), steps({"cast": {"x": "FP16"}}))
    assert caught.value.reason == "not_onnx"


def test_a_refusal_is_told_as_json(tmp_path: Path) -> None:
    """The process says why on stdout, and writes no file."""
    folder, target = write(tmp_path / "1", linear().SerializeToString()), tmp_path / "made.onnx"
    command = [sys.executable, "-m", "changeover.lifecycle.adapting", str(os.getpid()), str(folder), str(target)]
    ended = subprocess.run(command, input=b'[{"cast":{"x":"FP64"}}]', capture_output=True, check=False)
    assert ended.returncode == REFUSED, ended.stderr
    assert msgspec.json.decode(ended.stdout, type=Refusal).reason == "interface_lossy"
    assert not target.exists()
