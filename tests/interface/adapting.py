"""Models with an adapter round them, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from changeover.interface.merge import adapt
from changeover.interface.steps import Step

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
UINT8, INT32, INT64 = TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64
Value = tuple[str, int, Sequence[int | str | None]]


def steps(*given: dict[str, Any]) -> tuple[Step, ...]:
    """Steps as a plan has them."""
    return msgspec.convert(list(given), tuple[Step, ...])


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    *,
    opset: int = 17,
    ir: int = 8,
    **constants: Any,
) -> onnx.ModelProto:
    """A model of these nodes."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def node(operator: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    """A node; the last name is its output."""
    return helper.make_node(operator, list(names[:-1]), [names[-1]], **attributes)


def adapted(made: onnx.ModelProto, *given: dict[str, Any]) -> onnx.ModelProto:
    """The model with an adapter, accepted by the format's checker."""
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    adapt(copy, steps(*given))
    onnx.checker.check_model(copy, full_check=True)
    return copy


def run(made: onnx.ModelProto, **feeds: Any) -> dict[str, Any]:
    """All outputs by name, unoptimised."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def shapes(made: onnx.ModelProto) -> dict[str, tuple[int, list[int | str]]]:
    """Type and dimensions of the inputs and outputs as they are declared."""
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
        )
        for value in (*made.graph.input, *made.graph.output)
    }


def image_model(*, opset: int = 17, ir: int = 8, rows: int | str | None = "N") -> onnx.ModelProto:
    """`image` FP32 [N, 1, 4, 4] to `scores` FP32 [N, 3]: a matrix product and a bias."""
    weights = np.random.default_rng(1).standard_normal((16, 3)).astype(np.float32)
    nodes = [node("Flatten", "image", "flat"), node("MatMul", "flat", "w", "raw"), node("Add", "raw", "b", "scores")]
    values: dict[str, Any] = {"w": weights, "b": np.array([0.1, -0.2, 0.3], np.float32)}
    inputs: list[Value] = [("image", FLOAT, [rows, 1, 4, 4])]
    if ir < 4:
        inputs += [("w", FLOAT, [16, 3]), ("b", FLOAT, [3])]
    return model(nodes, inputs, [("scores", FLOAT, [rows, 3])], opset=opset, ir=ir, **values)


def image_scores(made: onnx.ModelProto, images: Any) -> Any:
    """What `image_model` answers, by numpy."""
    weights, bias = (numpy_helper.to_array(tensor) for tensor in made.graph.initializer)
    return images.reshape(len(images), 16).astype(np.float32) @ weights + bias
