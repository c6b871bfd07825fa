"""Old versions go from the disk of a real server, and nothing that is needed goes with them."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from changeover.testing import Server, wait_for
from tests import onnx_models

ASK = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}


def sealed(server: Server) -> set[str]:
    """Digests of the artifacts on disk, without what is being deleted."""
    return {name for name in os.listdir(server.state / "artifacts") if not name.startswith(".")}


def push_all(server: Server, versions: range) -> list[str]:
    """Deploy them one after the other; their digests."""
    return [server.deploy("m", onnx_models.scale(n).SerializeToString(), n)["to"]["digest"] for n in versions]


def test_eight_pushes_leave_two_versions(tmp_path: Path) -> None:
    """The controller is killed as soon as it removes something; its successor goes on, undo and restart work."""
    with Server(tmp_path, keep_versions=2) as server:
        server.plan("m", "rollout: {strategy: instant, undo_window: 10m}\n")
        digests = push_all(server, range(1, 9))
        wait_for(lambda: len(sealed(server)) < 8, "the first removal")
        controller = server.named("controller")
        controller.kill()
        wait_for(lambda: not psutil.pid_exists(controller.pid), "the controller's end")
        server.wait_ready()
        wait_for(lambda: sealed(server) == set(digests[-2:]), "the sweep of its successor")
        wait_for(lambda: not _temporary(server), "the end of what was begun")
        shown = {row["version"]: row["state"] for row in server.model("m")["versions"]}
        assert [shown[str(n)] for n in range(1, 9)] == ["removed"] * 6 + ["ready"] * 2
        server.control("POST", "/v1/models/m/rollout/undo")
        assert server.infer("m", ASK).json()["outputs"][0]["data"] == [7.0] * 4
        server.kill()
        server.assert_nothing_outlives()
        server.start()
        server.wait_ready()
        answer = server.infer("m", ASK).json()
        assert (answer["model_version"], answer["outputs"][0]["data"]) == ("7", [7.0] * 4)
        assert len(server.control("GET", "/v1/models/m/rollouts")["rollouts"]) == 8


def _temporary(server: Server) -> list[str]:
    return [name for name in os.listdir(server.state / "artifacts") if name.startswith(".")]
