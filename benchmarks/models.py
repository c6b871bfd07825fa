"""Models that the benches need and nobody should have to download."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def large_cnn(seed: int, layers: int = 20, channels: int = 256, side: int = 8) -> bytes:
    """A residual CNN of about 47 MB, some 10 to 20 ms on one core: input `x` [-1, 256, 8, 8], output `y` [-1, 10]."""
    generator = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for i in range(layers):
        kernel = generator.standard_normal((channels, channels, 3, 3), np.float32) * np.float32(0.02)
        weights.append(numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        nodes.append(helper.make_node("Add", [f"r{i}", last], [f"a{i}"]))
        last = f"a{i}"
    weights.append(numpy_helper.from_array(generator.standard_normal((channels, 10), np.float32), "dense"))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pool"]))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "dense"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        weights,
    )
    return _bytes(graph)


def lstm(seed: int, hidden: int = 256, wide: int = 64, steps: int = 32) -> bytes:
    """An LSTM over whole sequences, some 3 ms on one core: input `x` [-1, 32, 64], output `y` [-1, 10]."""
    generator = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> TensorProto:
        values = generator.standard_normal(shape, np.float32) * np.float32(shape[-1] ** -0.5)
        return numpy_helper.from_array(values, name)

    weights = [
        weight("w", 1, 4 * hidden, wide), weight("r", 1, 4 * hidden, hidden), weight("b", 1, 8 * hidden),
        weight("dense", hidden, 10), numpy_helper.from_array(np.array([0], np.int64), "first"),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["x"], ["by_step"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["by_step", "w", "r", "b"], ["", "last"], hidden_size=hidden),
        helper.make_node("Squeeze", ["last", "first"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", steps, wide])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        weights,
    )
    return _bytes(graph)


def many_nodes(count: int = 9000, side: int = 32) -> bytes:
    """A chain of small matrix products, each with its own weights: destroying its session holds the GIL for long."""
    generator = np.random.default_rng(5)
    weights = [numpy_helper.from_array(generator.random((side, side), np.float32), f"w{i}") for i in range(count)]
    nodes = [helper.make_node("MatMul", [f"v{i}", f"w{i}"], [f"v{i + 1}"]) for i in range(count)]
    nodes.insert(0, helper.make_node("Relu", ["x"], ["v0"]))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, side])],
        [helper.make_tensor_value_info(f"v{count}", TensorProto.FLOAT, [1, side])],
        weights,
    )
    return _bytes(graph)


def double() -> bytes:
    """`y = 2 x`, FP32 [N, 4]."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "y")]
    return _bytes(helper.make_graph(nodes, "double", ends[:1], ends[1:]))


def mnist() -> bytes | None:
    """The classic MNIST CNN (fixed batch of 1), when the test data is at hand."""
    data = os.environ.get("CHANGEOVER_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data"
    path = Path(data) / "mnist" / "mnist-8.onnx"
    return path.read_bytes() if path.is_file() else None


def _bytes(graph: object) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data
