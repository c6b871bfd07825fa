"""The models of the bench on sequences, what is sent to them, and what a run without a server answers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from sequence_load import Array

ROOT = Path(__file__).parent.parent
SEED = 6


def forecast(kind: str) -> bytes:
    """The example's forecaster: `lstm`, `gates`, `half`."""
    path = ROOT / "examples" / "sequences" / "forecast.py"
    spec = importlib.util.spec_from_file_location("forecast", path)
    assert spec and spec.loader  # noqa: PT018 - for the reader of types
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    trained = made.weights()
    model = made.with_lstm(trained) if kind == "lstm" else made.with_gates(trained, half=kind == "half")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def signals(sequences: int, steps: int) -> Array:
    """[sequences, steps] that all differ."""
    generator = np.random.default_rng(SEED)
    phases, speeds = generator.uniform(0, 6, (sequences, 1)), generator.uniform(0.1, 0.9, (sequences, 1))
    return np.sin(phases + speeds * np.arange(steps)).astype(np.float32)


def unswitched(sent: Array) -> Array:
    """What one version answers, in a session of this process."""
    session = onnxruntime.InferenceSession(forecast("lstm"))
    h = c = np.zeros((1, len(sent), 32), np.float32)
    answers = []
    for at in range(sent.shape[1]):
        y, h, c = session.run(["y", "h_next", "c_next"], {"x": sent[:, at : at + 1], "h": h, "c": c})
        answers.append(y[:, 0])
    return np.stack(answers, axis=1).astype(np.float64)


def heavy(hidden: int, *, wide: int = 0) -> bytes:
    """A state of `hidden` numbers; `wide`: each step multiplies it by a matrix of so many columns and back."""
    nodes = [helper.make_node("Add", ["h", "x"], ["both"])]
    constants = {}
    last = "both"
    if wide:
        weights = np.random.default_rng(1).normal(0, hidden**-0.5, (hidden, wide)).astype(np.float32)
        constants = {"up": weights, "down": np.ascontiguousarray(weights.T)}
        nodes += [helper.make_node("MatMul", ["both", "up"], ["large"]), helper.make_node("Tanh", ["large"], ["bent"]),
                  helper.make_node("MatMul", ["bent", "down"], ["small"])]  # fmt: skip
        last = "small"
    nodes += [helper.make_node("Identity", [last], ["h_next"]),
              helper.make_node("ReduceMean", [last], ["y"], axes=[1], keepdims=1)]  # fmt: skip

    def value(name: str, columns: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", columns])

    graph = helper.make_graph(
        nodes, "sequences", [value("x", 1), value("h", hidden)], [value("y", 1), value("h_next", hidden)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()
