"""Model files for tests of the workbench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from tests.interface.adapting import Value, model, node


def shaped(*inputs: Value, out: Sequence[Value] = (("y", 1, ["N", 3]),), **metadata: str) -> onnx.ModelProto:
    """A model with these inputs and outputs, which does not care for what it is given."""
    nodes = [node("Identity", f"c_{name}", name) for name, _, _ in out]
    constants = {f"c_{name}": np.zeros([2 if isinstance(d, str) else d for d in dims or ()], np.float32)
                 for name, _, dims in out}  # fmt: skip
    made = model(nodes, list(inputs), list(out), **constants)
    for key, value in metadata.items():
        made.metadata_props.add(key=key, value=value)
    return made


def written(folder: Path, name: str, made: onnx.ModelProto) -> str:
    """The path of a model's file."""
    path = folder / f"{name}.onnx"
    path.write_bytes(made.SerializeToString())
    return str(path)
