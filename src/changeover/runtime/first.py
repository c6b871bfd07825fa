"""The first session of a process does what is done once: kernels are registered, and such. A fork inherits it."""

from __future__ import annotations

import os

import numpy as np

from changeover.runtime import session


def made() -> None:
    """Make one of a single node, run it, and let it go. On one thread it starts none, so a fork is safe after it."""
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "first", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    memory = os.memfd_create("changeover-first", os.MFD_CLOEXEC)
    try:
        os.write(memory, model.SerializeToString())
        session.open_level(f"/proc/self/fd/{memory}", "all").run([np.ones((1, 1), np.float32)])
    finally:
        os.close(memory)
