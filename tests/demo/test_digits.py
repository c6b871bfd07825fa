"""The demo's models do what their README says."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from changeover.demo import digits

RECORDED = json.loads((Path(__file__).parents[2] / "training" / "accuracy.json").read_text())


def scores_of(model: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run([digits.OUTPUT], {digits.INPUT: digits.load_samples().inputs()})[0]


@pytest.mark.parametrize("version", digits.VERSIONS)
def test_accuracy_is_the_recorded_one(version: str) -> None:
    """Each version reaches, on the held-out digits, the accuracy written beside it."""
    samples = digits.load_samples()
    accuracy = (scores_of(digits.model_bytes(version)).argmax(axis=1) == samples.labels).mean()
    recorded = RECORDED[f"digits_v{version}.onnx"]["test_accuracy"]
    assert accuracy == pytest.approx(recorded, abs=0.005)
    assert f"{recorded:.2%}".replace("%", " %") in (files("changeover.demo") / "README.md").read_text()


def test_second_version_is_clearly_better() -> None:
    """Replacing version 1 is worth it: version 2 is at least five points more accurate."""
    accuracy = {name: RECORDED[name]["test_accuracy"] for name in ("digits_v1.onnx", "digits_v2.onnx")}
    assert accuracy["digits_v2.onnx"] >= accuracy["digits_v1.onnx"] + 0.05


@pytest.mark.parametrize("version", digits.VERSIONS)
def test_recorded_scores_hold_in_one_batch(version: str) -> None:
    """The recorded answers, made one by one, equal those of one large batch within the stated tolerance."""
    expected = digits.load_samples().scores[version]
    np.testing.assert_allclose(scores_of(digits.model_bytes(version)), expected, atol=1e-3, rtol=1e-3)


def test_versions_differ_on_every_sample() -> None:
    """No answer of one version can pass for an answer of the other."""
    scores = digits.load_samples().scores
    assert (np.abs(scores["1"] - scores["2"]).max(axis=1) > 0.5).all()


@pytest.mark.parametrize("version", digits.VERSIONS)
def test_signature_and_size(version: str) -> None:
    """Batch is a named free dimension, opset 17, and the file is small enough for the package."""
    data = digits.model_bytes(version)
    proto = onnx.load_model_from_string(data)
    onnx.checker.check_model(proto, full_check=True)
    shape = [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    assert (proto.graph.input[0].name, shape) == ("image", ["batch", 1, 28, 28])
    assert proto.opset_import[0].version == 17
    assert len(data) < 150_000


def test_mislabelled_model_is_valid_and_wrong() -> None:
    """It passes the checker with the same signature, and calls every digit by the name of the next one."""
    mislabelled = digits.make_mislabelled(digits.model_bytes("2"))
    proto, good = onnx.load_model_from_string(mislabelled), onnx.load_model_from_string(digits.model_bytes("2"))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.graph.input == good.graph.input
    assert proto.graph.output == good.graph.output
    right = scores_of(digits.model_bytes("2"))
    np.testing.assert_allclose(scores_of(mislabelled), np.roll(right, 1, axis=1), atol=1e-4)


def test_broken_model_is_valid_but_answers_nan() -> None:
    """The broken version passes the checker with the same signature, and all its answers are NaN."""
    broken = digits.make_broken(digits.model_bytes("2"))
    proto, good = onnx.load_model_from_string(broken), onnx.load_model_from_string(digits.model_bytes("2"))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.graph.input == good.graph.input
    assert proto.graph.output == good.graph.output
    assert np.isnan(scores_of(broken)).all()


def test_the_files_of_the_tour_are_written(tmp_path: Path) -> None:
    """The README's tour begins with them."""
    script = Path(__file__).parents[2] / "examples" / "files.py"
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert {path.name for path in tmp_path.iterdir()} == {"digit.json", "digits.npz", "broken.onnx"}
