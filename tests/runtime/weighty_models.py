"""Models with weights large enough for files of their own, of operators that pack them and of some that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
WIDTH = 160
"""A square matrix of FP32 with so many rows has 100 KiB."""


def matrix(seed: int, *shape: int) -> Array:
    """Small numbers."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32) * np.float32(0.05)


def model(
    nodes: list[NodeProto], shape: list[int | str], rank: int, kind: int = TensorProto.FLOAT, **weights: Array
) -> ModelProto:
    """From `x` to `y`."""
    ends = [helper.make_tensor_value_info("x", kind, shape),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"d{axis}" for axis in range(rank)])]  # fmt: skip
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "weighty", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def layers(*seeds: int) -> ModelProto:
    """Matrix products one after the other, each with a bias and a Relu; a seed is a layer's weights."""
    nodes, weights, last = [], {}, "x"
    for at, seed in enumerate(seeds):
        weights[f"w{at}"], weights[f"b{at}"] = matrix(seed, WIDTH, WIDTH), matrix(seed, WIDTH)
        nodes += [helper.make_node("MatMul", [last, f"w{at}"], [f"m{at}"]),
                  helper.make_node("Add", [f"m{at}", f"b{at}"], [f"s{at}"]),
                  helper.make_node("Relu", [f"s{at}"], [f"r{at}"])]  # fmt: skip
        last = f"r{at}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    return model(nodes, ["N", WIDTH], 2, **weights)


def _matmul() -> ModelProto:
    return model([helper.make_node("MatMul", ["x", "w"], ["y"])], ["N", WIDTH], 2, w=matrix(1, WIDTH, WIDTH))


def _gemm() -> ModelProto:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.5)
    return model([node], ["N", WIDTH], 2, w=matrix(1, WIDTH, WIDTH), b=matrix(2, WIDTH))


def _conv() -> ModelProto:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["y"])]
    return model(nodes, ["N", 64, 6, 6], 4, w=matrix(1, 64, 64, 3, 3))


def _conv_of_one_dimension() -> ModelProto:
    return model([helper.make_node("Conv", ["x", "w"], ["y"])], ["N", 100, 9], 3, w=matrix(1, 100, 100, 3))


def _grouped_conv() -> ModelProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=3)
    return model([node], ["N", 150, 6, 6], 4, w=matrix(1, 150, 50, 3, 3))


def _conv_transpose() -> ModelProto:
    return model([helper.make_node("ConvTranspose", ["x", "w"], ["y"])], ["N", 64, 5, 5], 4, w=matrix(1, 64, 64, 3, 3))


def _recurrent(kind: str, gates: int) -> ModelProto:
    hidden = 80
    nodes = [helper.make_node(kind, ["x", "w", "r", "b"], ["all", "", ""][:1], hidden_size=hidden),
             helper.make_node("Squeeze", ["all", "one"], ["y"])]  # fmt: skip
    weights = {"w": matrix(1, 1, gates * hidden, WIDTH), "r": matrix(2, 1, gates * hidden, hidden),
               "b": matrix(3, 1, 2 * gates * hidden), "one": np.array([1])}  # fmt: skip
    return model(nodes, ["T", "N", WIDTH], 3, **weights)


def _quantized() -> ModelProto:
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
             helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
             helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["f", "s"], ["y"])]  # fmt: skip
    whole = np.random.default_rng(1).integers(-100, 100, (300, 300)).astype(np.int8)
    return model(nodes, ["N", 300], 2, w=whole)


def _table() -> ModelProto:
    """An embedding whose table is the last layer's matrix, too."""
    nodes = [helper.make_node("Gather", ["w", "x"], ["row"]), helper.make_node("MatMul", ["row", "w"], ["y"])]
    return model(nodes, ["N"], 2, TensorProto.INT64, w=matrix(1, WIDTH, WIDTH))


def _in_a_branch() -> ModelProto:
    """Weights of graphs inside of the graph."""

    def branch(name: str, seed: int) -> Any:
        weight = numpy_helper.from_array(matrix(seed, WIDTH, WIDTH), f"w{seed}")
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH])
        node = helper.make_node("MatMul", ["x", f"w{seed}"], [name])
        return helper.make_graph([node], name, [], [out], [weight])

    nodes = [helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
             helper.make_node("Greater", ["sum", "nought"], ["big"]),
             helper.make_node("If", ["big"], ["y"], then_branch=branch("t", 1), else_branch=branch("e", 2)),
             ]  # fmt: skip
    return model(nodes, ["N", WIDTH], 2, nought=np.array(0, np.float32))


MODELS: dict[str, Callable[[], ModelProto]] = {
    "matmul": _matmul, "gemm": _gemm, "conv": _conv, "conv1d": _conv_of_one_dimension, "grouped": _grouped_conv,
    "transposed": _conv_transpose, "lstm": lambda: _recurrent("LSTM", 4), "gru": lambda: _recurrent("GRU", 3),
    "quantized": _quantized, "table": _table, "branch": _in_a_branch, "layers": lambda: layers(1, 2),
}  # fmt: skip
