"""What a run of one row costs, counted from shapes: multiplications of the operators that take the time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Shape = list[int]


def multiplications(model: ModelProto) -> int:
    """Multiply-and-add steps of convolutions, matrix products and recurrent layers, free dimensions taken for 1.

    What has no known shape, and graphs inside nodes, count for nothing: a lower bound, made to compare two models.
    """
    from onnx import ModelProto, shape_inference

    copy = ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = 1
    del copy.graph.value_info[:]
    try:
        graph = shape_inference.infer_shapes(copy, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError):
        return 0
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.HasField("shape"):
            shapes.setdefault(value.name, [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim])
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            shapes.setdefault(node.output[0], list(node.attribute[0].t.dims))
    return sum(_of(node, shapes) for node in graph.node)


def _of(node: NodeProto, shapes: dict[str, Shape]) -> int:
    if not all(name in shapes for name in (*node.input[:2], node.output[0] or node.output[-1])):
        return 0
    if len(node.input) < 2:
        return 0
    first, second = shapes[node.input[0]], shapes[node.input[1]]
    out = shapes[node.output[0] or node.output[-1]]
    if node.op_type == "Conv" and second:
        return math.prod(out) * math.prod(second[1:])
    if node.op_type == "ConvTranspose" and second:
        return math.prod(first) * math.prod(second[1:])
    if node.op_type == "MatMul" and first:
        return math.prod(out) * first[-1]
    if node.op_type == "Gemm":
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(out) * first[0 if turned else 1]
    if node.op_type in ("LSTM", "GRU", "RNN") and len(node.input) > 2 and node.input[2] in shapes:
        steps = first[0] * first[1]
        return steps * (math.prod(second) + math.prod(shapes[node.input[2]]))
    return 0
