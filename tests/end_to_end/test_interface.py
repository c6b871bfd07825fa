"""A version with other inputs and outputs takes over, and clients of the old one notice nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from changeover.testing import Server, exchange, wait_for
from tests.conftest import Serve
from tests.interface.adapting import DOUBLE, FLOAT, image_model, image_scores, model, node

IMAGES = np.random.default_rng(3).random((2, 4, 4)) * 255
ADAPTER = """interface:
  - rename: {image: picture, scores: logits}
  - unsqueeze: {picture: [1]}
  - scale: {picture: {scale: 0.00392156862745098}}
  - cast: {picture: FP64}
    allow_lossy: true
"""
SPEAKS_NEW = """interface:
  - rename: {picture: image, logits: scores}
  - squeeze: {image: [1]}
  - cast: {image: FP32}
"""


def old_model() -> bytes:
    """`picture` FP64 [N, 4, 4] of 0 to 255 to `logits` FP32 [N, 3]."""
    nodes = [node("Cast", "picture", "single", to=FLOAT), node("ReduceMean", "single", "mean", axes=[1, 2], keepdims=0),
             node("Reshape", "mean", "column", "columns"), node("Mul", "columns", "w", "logits")]  # fmt: skip
    return model(nodes, [("picture", DOUBLE, ["N", 4, 4])], [("logits", FLOAT, ["N", 3])],
                 column=np.array([-1, 1]), w=np.array([1, 2, 3], np.float32)).SerializeToString()  # fmt: skip


@pytest.fixture
def server(serve: Serve) -> Server:
    started = serve()
    started.deploy("m", old_model())
    return started


def ask(server: Server, name: str, array: Any, **headers: str) -> Any:
    datatype = {"float64": "FP64", "float32": "FP32"}[str(array.dtype)]
    sent = {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}
    reply = server.infer("m", {"inputs": [sent]}, **headers)
    assert reply.status == 200, reply.body
    (output,) = reply.json()["outputs"]
    return output["name"], np.reshape(output["data"], output["shape"])


def test_old_clients_on_a_new_model(server: Server) -> None:
    """FP64 of rank 3 for a model that takes FP32 of rank 4: the same request before and after the changeover."""
    before = ask(server, "picture", IMAGES)
    np.testing.assert_allclose(before[1], np.outer(IMAGES.mean((1, 2)), [1, 2, 3]), rtol=1e-5)
    new = image_model()
    server.plan("m", ADAPTER)
    pushed = server.push("m", new.SerializeToString())
    found = server.settled(pushed["rollout"])
    assert found["phase"] == "watching", found
    name, scores = ask(server, "picture", IMAGES)
    assert name == "logits"
    np.testing.assert_allclose(scores, image_scores(new, IMAGES / 255), rtol=1e-4, atol=1e-5)
    assert server.get("/v2/models/m").json()["inputs"] == [{"name": "picture", "datatype": "FP64", "shape": [-1, 4, 4]}]
    again = server.control("POST", "/v1/models/m/rollout/undo")
    assert again["phase"] == "rolled_back"
    np.testing.assert_allclose(ask(server, "picture", IMAGES)[1], before[1])


def test_new_clients_on_the_old_version(server: Server) -> None:
    """Clients change too: the old version speaks as the new one does first, so a rollback finds it doing so."""
    server.plan("m", "rollout: {strategy: instant, new_signature: true}\n" + SPEAKS_NEW)
    spoken = server.push("m", old_model(), version=1)
    assert server.settled(spoken["rollout"])["phase"] == "watching"
    images = IMAGES[:, None].astype(np.float32)
    by_old = ask(server, "image", images)
    np.testing.assert_allclose(by_old[1], np.outer(images.mean((1, 2, 3)), [1, 2, 3]), rtol=1e-5)
    server.plan("m", "{}")
    new = image_model()
    assert server.settled(server.push("m", new.SerializeToString())["rollout"])["phase"] == "watching"
    np.testing.assert_allclose(ask(server, "image", images)[1], image_scores(new, images), rtol=1e-4, atol=1e-4)
    assert server.control("POST", "/v1/models/m/rollout/undo")["phase"] == "rolled_back"
    assert ask(server, "image", images)[0] == by_old[0] == "scores"
    np.testing.assert_allclose(ask(server, "image", images)[1], by_old[1])


def test_what_does_not_fit_is_refused_at_once(server: Server) -> None:
    """A push whose steps do not fit, or lose data unmeant, is answered with that, and begins no rollout."""
    before = server.model("m")["versions"]
    for line, reason in (("rename: {nobody: x}", "interface_unfit"), ("cast: {image: FP64}", "interface_lossy")):
        server.plan("m", f"interface:\n  - {line}\n")
        reply = exchange(server.control_port, "POST", "/v1/models/m/versions", image_model().SerializeToString())
        assert (reply.status, reply.json()["reason"]) == (422, reason)
    server.plan("m", "{}")
    assert server.model("m")["versions"] == before
    refused = server.settled(server.push("m", image_model().SerializeToString())["rollout"])
    assert refused["reason"] == "signature_changed"


def test_a_version_of_the_repository_is_adapted_too(serve: Serve) -> None:
    """A folder with a plan beside it, and the same version again after a restart: it is no news."""
    server = serve()
    folder = server.repository / "r"
    (folder / "1").mkdir(parents=True)
    (folder / "model.yaml").write_text("rollout: {strategy: instant}\n" + ADAPTER)
    (folder / "1" / "model.onnx").write_bytes(image_model().SerializeToString())
    wait_for(lambda: server.get("/v2/models/r/ready").status == 200, "the model to serve")
    shown = server.model("r")
    assert server.get("/v2/models/r").json()["inputs"][0]["name"] == "picture"
    server.stop()
    server.start()
    server.wait_ready()
    assert [v["name"] for v in server.model("r")["versions"]] == [v["name"] for v in shown["versions"]]
    assert len(server.control("GET", "/v1/models/r/rollouts")["rollouts"]) == 1
