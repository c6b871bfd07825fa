"""A model with operators of its own is served with a library that the server's operator has laid down, and only so."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from changeover.testing import exchange
from tests import custom_operators
from tests.conftest import Serve

PLAN = "rollout: {strategy: instant}\nruntime: {session: {custom_ops: [libown.so]}}\n"


def test_a_library_comes_from_the_operator_alone(serve: Serve, tmp_path: Path) -> None:
    """It answers as numpy does and is shown; a library beside the model is not loaded, nor taken with it."""
    allowed = custom_operators.library(tmp_path / "ops")
    server = serve(custom_ops=str(allowed.parent))
    model = custom_operators.inverting().SerializeToString()
    server.plan("own", PLAN)
    pushed = server.push("own", model)
    assert server.settled(pushed["rollout"])["phase"] == "succeeded"
    told = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [2, 0, 0, 4]}
    (output,) = server.infer("own", {"inputs": [told]}).json()["outputs"]
    np.testing.assert_allclose(np.reshape(output["data"], (2, 2)), [[0.5, 0], [0, 0.25]])
    shown: Any = server.control("GET", "/v1/models/own")
    assert shown["runtime"]["session"]["custom_ops"] == ["libown.so"]

    server.plan("smuggled", PLAN.replace("libown", "libsmuggled"))
    beside = custom_operators.library(server.repository / "smuggled", "libsmuggled.so")
    found = server.settled(server.push("smuggled", model)["rollout"])
    assert (found["phase"], found["reason"]) == ("failed", "custom_op_not_allowed")
    (tmp_path / "model.onnx").write_bytes(model)
    with tarfile.open(tmp_path / "smuggled.tar", "w") as tar:
        for path in (tmp_path / "model.onnx", beside):
            tar.add(path, path.name)
    body, kind = (tmp_path / "smuggled.tar").read_bytes(), {"content-type": "application/x-tar"}
    reply = exchange(server.control_port, "POST", "/v1/models/smuggled/versions", body, kind)
    assert (reply.status, reply.json()["reason"]) == (422, "tar_member_refused")
