"""A real library of operators, and a model that needs it."""

from __future__ import annotations

import shutil
from pathlib import Path

from onnx import ModelProto, TensorProto, helper

from tests.needed import needed

DOMAIN = "ai.onnx.contrib"


def library(folder: Path, name: str = "libown.so") -> Path:
    """The library of onnxruntime-extensions under a name in a folder that nobody else can write to."""
    (made,) = Path(needed("onnxruntime_extensions").__file__).parent.glob("_extensions_pydll*.so")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    shutil.copy(made, folder / name)
    (folder / name).chmod(0o644)
    return folder / name


def inverting() -> ModelProto:
    """`y` is the inverse matrix of `x`, FP32 [2, 2]: an operator that ONNX Runtime has not."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "y")]
    node = helper.make_node("Inverse", ["x"], ["y"], domain=DOMAIN)
    graph = helper.make_graph([node], "inverting", ends[:1], ends[1:])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)
