"""ONNX models that harm who loads or runs them: they crash it, hang it, or take its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from changeover.tensors import Datatype
from tests import onnx_models

if TYPE_CHECKING:
    from onnx import ModelProto


def crash_at_load() -> ModelProto:
    """A sound file that kills ONNX Runtime by SIGFPE while it folds constants: the least INT64 divided by -1."""
    from onnx import helper

    return onnx_models._model(
        [
            onnx_models._node("Div", "least", "minus", "quotient"),
            helper.make_node("Cast", ["quotient"], ["number"], to=1),
            onnx_models._node("Add", "x", "number", "y"),
        ],
        [onnx_models._value("x", Datatype.FP32, ("N", 4))],
        [onnx_models._value("y", Datatype.FP32, ("N", 4))],
        least=np.array(-(2**63), np.int64),
        minus=np.array(-1, np.int64),
    )


def hang_at_load(size: int = 3000, products: int = 400) -> ModelProto:
    """A file of 30 kB whose constants take ONNX Runtime many minutes to fold."""
    from onnx import helper

    value = helper.make_tensor("value", 1, [1], [1e-4])
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["m0"], value=value)]
    nodes += [onnx_models._node("MatMul", f"m{at}", f"m{at}", f"m{at + 1}") for at in range(products)]
    nodes += [
        onnx_models._node("ReduceMax", f"m{products}", "top", keepdims=0),
        onnx_models._node("Mul", "top", "zero", "nothing"),
        onnx_models._node("Add", "x", "nothing", "y"),
    ]
    return onnx_models._model(
        nodes,
        [onnx_models._value("x", Datatype.FP32, ("N", 4))],
        [onnx_models._value("y", Datatype.FP32, ("N", 4))],
        shape=np.array([size, size], np.int64),
        zero=np.array(0, np.float32),
    )


def greedy(gigabytes: int = 8) -> ModelProto:
    """Fills `gigabytes` with ones at each run, and adds their mean less one to the input."""
    return onnx_models._model(
        [
            onnx_models._node("Shape", "x", "rows", start=0, end=1),
            onnx_models._node("Div", "rows", "rows", "one"),
            onnx_models._node("Mul", "one", "size", "many"),
            onnx_models._node("Expand", "unit", "many", "ones"),
            onnx_models._node("ReduceMean", "ones", "mean", keepdims=0),
            onnx_models._node("Sub", "mean", "unit", "none"),
            onnx_models._node("Add", "x", "none", "y"),
        ],
        [onnx_models._value("x", Datatype.FP32, ("N", 4))],
        [onnx_models._value("y", Datatype.FP32, ("N", 4))],
        size=np.array([gigabytes << 28], np.int64),
        unit=np.array(1, np.float32),
    )


def hoard() -> ModelProto:
    """`y` is 1 for the INT64 scalar `n`, the mean of `n` ones: the runtime's arena keeps their memory."""
    return onnx_models._model(
        [
            onnx_models._node("Reshape", "n", "flat", "many"),
            onnx_models._node("Expand", "unit", "many", "ones"),
            onnx_models._node("ReduceMean", "ones", "y", keepdims=0),
        ],
        [onnx_models._value("n", Datatype.INT64, ())],
        [onnx_models._value("y", Datatype.FP32, ())],
        flat=np.array([1], np.int64),
        unit=np.array([1], np.float32),
    )
