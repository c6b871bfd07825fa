"""Models whose best setting is known, and a wish that is soon fulfilled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from changeover.workbench.tuning.wish import Space, Wish
from tests.interface.adapting import model, node

SMALL = Space(("fp32",), ("off", "all"), (1,), (1,), (32,))


def wish(budget: float = 8.0, space: Space = SMALL, **more: Any) -> Wish:
    """Two settings, a few seconds."""
    return Wish(budget=budget, space=space, cores=2, **more)


def folding(side: int = 192) -> onnx.ModelProto:
    """`y = x (A B C)`: levels from basic on work the product of the weights out once, `off` does it in every run."""
    made = np.random.default_rng(3).standard_normal((3, side, side)).astype(np.float32) / side
    nodes = [node("MatMul", "a", "b", "ab"), node("MatMul", "ab", "c", "abc"), node("MatMul", "x", "abc", "y")]
    return model(
        nodes, [("x", TensorProto.FLOAT, ["N", side])], [("y", TensorProto.FLOAT, ["N", side])],
        a=made[0], b=made[1], c=made[2],
    )  # fmt: skip


def written(folder: Path, made: onnx.ModelProto) -> Path:
    """The model's file."""
    path = folder / "given.onnx"
    path.write_bytes(made.SerializeToString())
    return path
