"""`changeover model convert`: a file in another precision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from changeover.cli.main import run
from changeover.demo import digits


@pytest.fixture
def path(tmp_path: Path) -> str:
    place = tmp_path / "digits.onnx"
    place.write_bytes(digits.model_bytes("1"))
    return str(place)


def test_with_samples(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is written, and the document says of what, with how many samples, and how large it is."""
    np.savez(tmp_path / "s.npz", image=digits.load_samples().inputs()[:8])
    made, samples = tmp_path / "made.onnx", str(tmp_path / "s.npz")
    arguments = ["model", "convert", path, "--precision", "int8_static", "--samples", samples, "--to", str(made)]
    assert run([*arguments, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["precision"], told["samples"]) == ("int8_static", 8)
    assert told["bytes"] == {"before": Path(path).stat().st_size, "after": made.stat().st_size}


def test_without_samples(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FP16 needs none, INT8 with fixed scales does: refused with exit code 1 and the reason."""
    assert run(["model", "convert", path, "--precision", "fp16", "--to", str(tmp_path / "h.onnx")]) == 0
    assert "fp16" in capsys.readouterr().out
    assert run(["model", "convert", path, "--precision", "int8_static", "--to", str(tmp_path / "q.onnx")]) == 1
    assert "[no_calibration]" in capsys.readouterr().err
    assert not (tmp_path / "q.onnx").exists()


def test_mistakes(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A precision that is none, a folder that is not there."""
    assert run(["model", "convert", path, "--precision", "int3", "--to", str(tmp_path / "h.onnx")]) == 1
    assert run(["model", "convert", path, "--precision", "fp32", "--to", str(tmp_path / "no" / "h.onnx")]) == 64
    told = capsys.readouterr().err
    assert "[precision_unsupported]" in told
    assert "--to" in told
