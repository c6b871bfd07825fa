"""Recent requests over the control port of a real server, and the model that is made with them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from changeover.access import Scope
from changeover.cli.main import run
from changeover.controller.api import endpoints
from changeover.demo import digits
from changeover.testing import Server, exchange
from tests import onnx_models
from tests.controller.events.listening import Listener


def ask(server: Server, model: str, rows: int) -> None:
    """One request a row, of the numbers from 1 on."""
    for row in range(1, rows + 1):
        body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [row] * 4}]}
        assert exchange(server.http_port, "POST", f"/v2/models/{model}/infer", json.dumps(body).encode()).status == 200


def test_what_clients_asked(shared_server: Server) -> None:
    """The archive holds their inputs, and nothing else; that somebody looked is an event."""
    shared_server.deploy("asked", onnx_models.scale(2).SerializeToString())
    ask(shared_server, "asked", 30)
    with Listener(shared_server, "?model=asked&types=operator") as listener:
        reply = exchange(shared_server.control_port, "POST", "/v1/models/asked/samples")
        assert (listener.next()["asked"], reply.status) == ("samples", 200)
    with np.load(io.BytesIO(reply.body), allow_pickle=False) as stored:
        assert stored.files == ["x"]
        assert sorted(stored["x"][:, 0].tolist()) == list(range(1, 31))
    assert (reply.headers["changeover-samples"], reply.headers["changeover-seen"]) == ("30", "30")


def test_refusals(shared_server: Server) -> None:
    """A private model's requests are never kept, of a new one none was; an unknown model is unknown."""
    shared_server.plan("hidden", "private: true")
    for name in ("hidden", "fresh"):
        shared_server.deploy(name, onnx_models.scale(2).SerializeToString())
    ask(shared_server, "hidden", 3)
    wanted = {"hidden": (409, "samples_private"), "fresh": (409, "no_samples"), "nobody": (404, "model_not_found")}
    for name, answer in wanted.items():
        reply = exchange(shared_server.control_port, "POST", f"/v1/models/{name}/samples")
        assert (reply.status, reply.json()["reason"]) == answer


def test_only_for_those_who_administer() -> None:
    """A token that may look at models may not look at what clients send."""
    (row,) = [one for one in endpoints(None) if one.path.endswith("/samples")]  # type: ignore[arg-type]
    assert row.scope is Scope.ADMIN


def test_from_recorded_requests_to_int8(
    shared_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`model samples` writes what `model convert` calibrates with; the server takes the version that comes of it."""
    shared_server.plan("figures", "gates: {performance: {enabled: false}}")  # so small a model may be slower for it
    shared_server.deploy("figures", digits.model_bytes("1"))
    images = digits.load_samples().inputs()[:20]
    for image in images:
        body = {"inputs": [{"name": "image", "shape": [1, *image.shape], "datatype": "FP32", "data": image.tolist()}]}
        shared_server.infer("figures", body)
    archive, source, made = (tmp_path / name for name in ("s.npz", "v1.onnx", "int8.onnx"))
    source.write_bytes(digits.model_bytes("1"))
    control = ["--control", f"http://127.0.0.1:{shared_server.control_port}"]
    assert run(["model", "samples", "figures", "--to", str(archive), *control, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["samples"], told["seen"], told["left_out"]) == (20, 20, 0)
    assert archive.stat().st_mode & 0o077 == 0
    arguments = ["--precision", "int8_static", "--samples", str(archive), "--to", str(made)]
    assert run(["model", "convert", str(source), *arguments]) == 0
    rollout = shared_server.deploy("figures", made.read_bytes())
    assert (rollout["phase"], rollout["reason"]) == ("watching", None), rollout["detail"]
    gate = next(one for one in rollout["gates"] if one["gate"] == "accuracy")
    assert gate["result"] == "passed", gate
