"""Write ONNX files of the forecasting network: a sensor's value in, the next one out, and a state between two steps.

    python examples/sequences/forecast.py FOLDER

`lstm.onnx` has ONNX's own LSTM operator. `gates.onnx` is the same network with the same weights as single operators,
as another exporter writes it: a service may change over to it in the middle of any sequence. `half.onnx` keeps its
weights in half precision: smaller, and no longer the same. `wide.onnx` has eight more cells that do nothing, so its
state is larger. The weights come from `training/train_forecast.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

WEIGHTS = Path(__file__).parent / "forecast.npz"
OPSET = 17
IR_VERSION = 8

Array = NDArray[Any]
Weights = dict[str, Array]


def weights() -> Weights:
    """Return the trained weights by name."""
    with np.load(WEIGHTS) as archive:
        return {name: archive[name] for name in archive.files}


def widened(trained: Weights, more: int) -> Weights:
    """Return weights with more cells whose weights are all zero: the same answers with a larger state."""
    hidden = trained["r"].shape[1]
    gates = [slice(at * hidden, (at + 1) * hidden) for at in range(4)]
    made = {"d": trained["d"], "v": np.pad(trained["v"], ((0, 0), (0, more)))}
    made["w"] = np.concatenate([np.pad(trained["w"][g], ((0, more), (0, 0))) for g in gates])
    made["r"] = np.concatenate([np.pad(trained["r"][g], ((0, more), (0, more))) for g in gates])
    made["b"] = np.concatenate([np.pad(trained["b"][g], (0, more)) for g in gates])
    return made


def with_lstm(trained: Weights) -> ModelProto:
    """Return the network with ONNX's LSTM operator."""
    hidden = trained["r"].shape[1]
    constants = {
        "w": trained["w"][None],
        "r": trained["r"][None],
        "b": np.concatenate([trained["b"], np.zeros_like(trained["b"])])[None],
        "v": trained["v"],
        "d": trained["d"],
        "first": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["x", "first"], ["steps"]),
        helper.make_node("LSTM", ["steps", "w", "r", "b", "", "h", "c"], ["", "h_next", "c_next"], hidden_size=hidden),
        helper.make_node("Squeeze", ["h_next", "first"], ["seen"]),
        helper.make_node("Gemm", ["seen", "v", "d"], ["y"], transB=1),
    ]
    return _model(nodes, constants, hidden)


def with_gates(trained: Weights, *, half: bool = False) -> ModelProto:
    """Return the network in single operators; `half`: its weights are kept in half precision."""
    hidden = trained["r"].shape[1]
    weighty = {"w": trained["w"].T, "r": trained["r"].T, "b": trained["b"], "v": trained["v"].T, "d": trained["d"]}
    constants: Weights = {"first": np.array([0], np.int64)}
    nodes = []
    for name, array in weighty.items():
        if half:
            constants[f"{name}_half"] = array.astype(np.float16)
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        else:
            constants[name] = np.ascontiguousarray(array)
    nodes += [
        helper.make_node("Squeeze", ["h", "first"], ["h_rows"]),
        helper.make_node("Squeeze", ["c", "first"], ["c_rows"]),
        helper.make_node("MatMul", ["x", "w"], ["from_x"]),
        helper.make_node("MatMul", ["h_rows", "r"], ["from_h"]),
        helper.make_node("Add", ["from_x", "from_h"], ["both"]),
        helper.make_node("Add", ["both", "b"], ["z"]),
        helper.make_node("Split", ["z"], ["zi", "zo", "zf", "zg"], axis=1),
        *[helper.make_node("Sigmoid", [f"z{gate}"], [gate]) for gate in "iof"],
        helper.make_node("Tanh", ["zg"], ["g"]),
        helper.make_node("Mul", ["f", "c_rows"], ["kept"]),
        helper.make_node("Mul", ["i", "g"], ["added"]),
        helper.make_node("Add", ["kept", "added"], ["c_after"]),
        helper.make_node("Tanh", ["c_after"], ["squashed"]),
        helper.make_node("Mul", ["o", "squashed"], ["h_after"]),
        helper.make_node("MatMul", ["h_after", "v"], ["weighed"]),
        helper.make_node("Add", ["weighed", "d"], ["y"]),
        helper.make_node("Unsqueeze", ["h_after", "first"], ["h_next"]),
        helper.make_node("Unsqueeze", ["c_after", "first"], ["c_next"]),
    ]
    return _model(nodes, constants, hidden)


def _model(nodes: list[Any], constants: Weights, hidden: int) -> ModelProto:
    def value(name: str, shape: list[int | str]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    state: list[int | str] = [1, "rows", hidden]
    inputs = [value("x", ["rows", 1]), value("h", state), value("c", state)]
    outputs = [value("y", ["rows", 1]), value("h_next", state), value("c_next", state)]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "forecast", inputs, outputs, tensors)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, producer_name="changeover", opset_imports=opset, ir_version=IR_VERSION)


def main(folder: Path) -> None:
    """Write the four files."""
    trained = weights()
    files = {
        "lstm": with_lstm(trained),
        "gates": with_gates(trained),
        "half": with_gates(trained, half=True),
        "wide": with_gates(widened(trained, 8)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in files.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
