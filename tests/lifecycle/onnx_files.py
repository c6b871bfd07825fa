"""Small ONNX models, sound and unsound, written by the format's own package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def value(
    name: str, shape: Sequence[int | str | None] = ("N", 3), kind: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def weights(name: str = "w", shape: tuple[int, ...] = (3, 3)) -> onnx.TensorProto:
    """A tensor of ones with its data inside."""
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def external(name: str = "w", location: str = "model.data", **keys: object) -> onnx.TensorProto:
    """A 3-by-3 float tensor (36 bytes) that names another file for its data."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3, 3], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **keys}.items():
        tensor.external_data.add(key=key, value=str(text))
    return tensor


def linear(tensor: onnx.TensorProto | None = None, *, opset: int = 17, ir: int = 9) -> onnx.ModelProto:
    """`y = x @ w`, rows free, three columns."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "linear", [value("x")], [value("y")], [tensor or weights()]
    )
    return model(graph, opset=opset, ir=ir)


def model(graph: onnx.GraphProto, *, opset: int = 17, ir: int = 9, **fields: object) -> onnx.ModelProto:
    """A model of one graph."""
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **fields)
    made.ir_version = ir
    return made


def node_model(*nodes: onnx.NodeProto, **keys: int) -> onnx.ModelProto:
    """A model from `x` to `y` of these nodes."""
    return model(helper.make_graph(list(nodes), "g", [value("x")], [value("y")]), **keys)


def write(folder: Path, made: onnx.ModelProto | bytes, **files: bytes) -> Path:
    """Put a model and other files (`model_data` for `model.data`) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder
