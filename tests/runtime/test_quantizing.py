"""ONNX Runtime's own tools for other precisions: what they make, and what their failures become."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

from changeover.demo import digits
from changeover.errors import ModelRejected
from changeover.runtime import quantizing


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    path.write_bytes(digits.model_bytes("1"))
    return path


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def test_dynamic_quantises_at_each_run(source: Path, tmp_path: Path) -> None:
    """Convolutions and matrix products are of whole numbers, and the scales are worked out in the graph."""
    quantizing.dynamic(source, tmp_path / "made.onnx")
    assert {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"} <= operators(tmp_path / "made.onnx")


@pytest.mark.parametrize("per_channel", [True, False])
def test_static_knows_its_scales(source: Path, tmp_path: Path, per_channel: bool) -> None:
    """All scales are constants; those of a convolution's weights are one a channel, or one."""
    feeds = [{"image": image[None]} for image in digits.load_samples().inputs()[:4]]
    quantizing.static(source, tmp_path / "made.onnx", feeds, per_channel=per_channel)
    made = onnx.load(tmp_path / "made.onnx")
    assert "QuantizeLinear" in operators(tmp_path / "made.onnx")
    scales = {max(tensor.dims, default=1) for tensor in made.graph.initializer if tensor.name.endswith("_scale")}
    assert (len(scales) > 1) is per_channel


def test_halved_keeps_inputs_and_outputs(source: Path) -> None:
    """FP32 outside, FP16 inside, in an order that the format's checker takes."""
    made = quantizing.halved(onnx.load(source))
    onnx.checker.check_model(made, full_check=True)
    assert made.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert {tensor.data_type for tensor in made.graph.initializer} >= {onnx.TensorProto.FLOAT16}


def test_a_failure_is_a_refusal(source: Path, tmp_path: Path) -> None:
    """Whatever the tools raise comes as a reason and a sentence."""
    with pytest.raises(ModelRejected, match=r"cannot make it int8_static: .+") as caught:
        quantizing.static(source, tmp_path / "made.onnx", [{"image": np.ones((1, 2), np.float32)}], per_channel=True)
    assert caught.value.reason == "precision_unsupported"


def test_warnings_of_the_tools_are_kept_from_the_caller(source: Path, tmp_path: Path) -> None:
    """And only theirs: warnings are as before when it is over."""
    before = list(warnings.filters)
    quantizing.dynamic(source, tmp_path / "made.onnx")
    assert list(warnings.filters) == before


def test_a_disk_that_fails_is_no_fault_of_the_model(source: Path, tmp_path: Path) -> None:
    """It may be converted another time."""
    with pytest.raises(OSError, match="No such file"):
        quantizing.dynamic(source, tmp_path / "nowhere" / "made.onnx")
