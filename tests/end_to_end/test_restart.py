"""Decisions survive the server's end, whichever way it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.testing import Server, wait_for
from tests import onnx_models

ASK = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}


def drop(server: Server, version: int, data: bytes) -> None:
    """Put a version into the repository."""
    folder = server.repository / "m" / str(version)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(data)


def end(server: Server, how: str) -> None:
    """Stop or kill."""
    if how == "stopped":
        assert server.stop() == 0
    else:
        server.kill()
    server.assert_nothing_outlives()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_chosen_version_serves_although_a_newer_one_failed(tmp_path: Path, how: str) -> None:
    """Version 2 in the repository was refused: after a restart version 1 serves, and 2 is not tried again."""
    with Server(tmp_path) as server:
        drop(server, 1, onnx_models.scale(2).SerializeToString())
        wait_for(lambda: server.get("/v2/models/m/ready").status == 200, "version 1")
        drop(server, 2, onnx_models.not_a_number().SerializeToString())
        wait_for(lambda: server.model("m")["rollout"]["phase"] == "failed", "the refusal of version 2")
        before = len(server.control("GET", "/v1/models/m/rollouts")["rollouts"])
        end(server, how)
        server.start()
        server.wait_ready()
        assert server.infer("m", ASK).json()["outputs"][0]["data"] == [2.0] * 4
        assert server.model("m")["active"] == "1"
        assert len(server.control("GET", "/v1/models/m/rollouts")["rollouts"]) == before


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_an_undone_version_stays_undone(tmp_path: Path, how: str) -> None:
    """Version 2 was good, and taken back: after a restart version 1 serves."""
    with Server(tmp_path) as server:
        server.deploy("m", onnx_models.scale(2).SerializeToString())
        server.deploy("m", onnx_models.scale(3).SerializeToString())
        server.control("POST", "/v1/models/m/rollout/undo")
        end(server, how)
        server.start()
        server.wait_ready()
        assert server.infer("m", ASK).json()["model_version"] == "1"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_pushed_version_needs_no_repository(tmp_path: Path, how: str) -> None:
    """What was pushed is sealed in the state folder and serves again, its epochs going on from where they were."""
    with Server(tmp_path) as server:
        server.deploy("m", onnx_models.scale(2).SerializeToString())
        server.deploy("m", onnx_models.scale(3).SerializeToString())
        epoch = int(server.infer("m", ASK).headers["changeover-epoch"])
        end(server, how)
        server.start()
        server.wait_ready()
        reply = server.infer("m", ASK)
        assert reply.json()["outputs"][0]["data"] == [3.0] * 4
        assert int(reply.headers["changeover-epoch"]) > epoch


def test_a_damaged_artifact_falls_back_to_the_standby(tmp_path: Path) -> None:
    """Bytes of the chosen version changed on the disk: it is not loaded, the version kept beside it serves."""
    with Server(tmp_path) as server:
        server.deploy("m", onnx_models.scale(2).SerializeToString())
        digest = server.deploy("m", onnx_models.scale(3).SerializeToString())["to"]["digest"]
        end(server, "stopped")
        model = next((server.state / "artifacts").glob(f"*{digest[:16]}*/**/model.onnx"))
        model.chmod(0o600)
        data = bytearray(model.read_bytes())
        data[-1] ^= 1
        model.write_bytes(data)
        server.start()
        server.wait_ready()
        assert server.infer("m", ASK).json()["model_version"] == "1"
