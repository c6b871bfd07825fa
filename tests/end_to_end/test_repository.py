"""The model repository over the data port, with Triton's own client: index, load, unload, and the model control."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

from changeover.testing import INSTANT, Server, exchange, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic


def scale(factor: float) -> bytes:
    """`y = factor * x`."""
    return onnx_models.scale(factor).SerializeToString()


def put(server: Server, model: str, version: int, onnx: bytes, plan: str = INSTANT) -> None:
    """A version in the repository, whose model's rollouts are instant."""
    folder = server.repository / model / str(version)
    aside = server.repository / f".{model}"
    aside.mkdir()
    (aside / "model.onnx").write_bytes(onnx)
    folder.parent.mkdir(exist_ok=True)
    (folder.parent / "model.yaml").write_text(plan)
    if folder.exists():
        shutil.rmtree(folder)
    aside.rename(folder)


@contextmanager
def triton(server: Server) -> Iterator[InferenceServerClient]:
    """Triton's client."""
    client = InferenceServerClient(f"127.0.0.1:{server.http_port}", network_timeout=120.0)
    try:
        yield client
    finally:
        client.close()


def states(client: InferenceServerClient) -> dict[str, str]:
    """`{"m/1": "READY"}`."""
    return {f"{row['name']}/{row['version']}": row["state"] for row in client.get_model_repository_index()}


def reason_of(server: Server, path: str, body: bytes = b"{}") -> tuple[int, str]:
    """Status and reason of a call that is refused."""
    reply = exchange(server.http_port, "POST", f"/v2/repository/models/{path}", body)
    return reply.status, reply.json()["reason"]


def test_models_come_and_go_by_calls(serve: Serve) -> None:
    """Nothing serves at first; a load under traffic is a changeover that loses nothing; an unload gives memory back."""
    server = serve(model_control="explicit", gateways=2)
    put(server, "m", 1, scale(2))
    with triton(server) as client:
        assert states(client) == {"m/1": "UNAVAILABLE"}
        assert not client.is_model_ready("m")
        client.load_model("m")
        assert client.is_model_ready("m")
        put(server, "m", 2, scale(3))
        with Traffic(server.http_port, "m", {"1": 2.0, "2": 3.0}) as traffic:
            client.load_model("m")
            assert client.is_model_ready("m", "2")
            traffic.wait_for_version("2")
            traffic.wait_for_answers(50)
        report = traffic.report
        assert (report.failed, report.wrong, report.stale("1", "2")) == ([], 0, 0)
        assert states(client) == {"m/1": "READY", "m/2": "READY"}
        client.unload_model("m")
        assert [p for p in (server.find("worker m/1"), server.find("worker m/2")) if p] == []
        assert states(client) == {"m/1": "UNAVAILABLE", "m/2": "UNAVAILABLE"}
        assert not client.is_model_ready("m")
        assert exchange(server.http_port, "GET", "/v2/models/m/ready").status == 400
        reply = server.infer("m", {"inputs": []})
        assert (reply.status, reply.json()["reason"]) == (404, "model_unloaded")
        assert server.get("/v2/models").json() == {"models": []}
        client.load_model("m")
        assert client.is_model_ready("m", "2")
        assert client.get_model_repository_index()[1] == {
            "name": "m", "version": "2", "state": "READY"
        }  # fmt: skip


def test_an_unload_under_traffic(serve: Serve) -> None:
    """Every request is answered: by the version that served, or with the word that it is unloaded."""
    server = serve(model_control="explicit", gateways=2)
    put(server, "m", 1, scale(2))
    with triton(server) as client:
        client.load_model("m")
        with Traffic(server.http_port, "m", {"1": 2.0}) as traffic:
            client.unload_model("m")
            assert server.find("worker m/1") is None
            wait_for(lambda: len(traffic.report.failed) > 20, "answers after it")
        assert traffic.report.wrong == 0
        assert [told for told in traffic.report.failed if '"reason":"model_unloaded"' not in told] == []


def test_poll_follows_the_repository(serve: Serve) -> None:
    """A new version, then other bytes under its number, become changeovers; a removed folder is told and serves on."""
    server = serve(model_control="poll", poll_interval=0.5)
    with triton(server) as client:
        put(server, "m", 1, scale(2))
        wait_for(lambda: client.is_model_ready("m"), "the first version")
        with Traffic(server.http_port, "m", {"1": 2.0, "2": 3.0}) as traffic:
            put(server, "m", 2, scale(3))
            traffic.wait_for_version("2")
        assert (traffic.report.failed, traffic.report.wrong) == ([], 0)
        digest = server.model("m")["versions"][0]["digest"]
        put(server, "m", 2, scale(5))
        wait_for(lambda: server.model("m")["rollout"]["to"]["digest"] != digest, "a rollout to the new bytes")
        assert server.settled(server.model("m")["rollout"]["id"])["phase"] == "watching"
        shutil.rmtree(server.repository / "m" / "2")
        wait_for(lambda: "m/2 was removed" in server.tail(), "the word of it")
        (row,) = [row for row in client.get_model_repository_index() if row["version"] == "2"]
        assert (row["state"], "no longer in the repository" in row["reason"]) == ("READY", True)


def test_what_is_refused(serve: Serve) -> None:
    """A broken model with the old one serving on, files and configs that make no sense, an unknown model."""
    server = serve(model_control="explicit", body_limit=1 << 20)
    put(server, "m", 1, scale(2))
    with triton(server) as client:
        client.load_model("m")
        put(server, "m", 2, onnx_models.not_a_number().SerializeToString())
        with pytest.raises(InferenceServerException, match="NaN"):
            client.load_model("m")
        assert reason_of(server, "m/load") == (400, "output_not_finite")
        assert client.is_model_ready("m", "1")
        assert states(client)["m/2"] == "UNAVAILABLE"
        ready = exchange(server.http_port, "POST", "/v2/repository/index", b'{"ready": true}').json()
        assert [(row["name"], row["version"]) for row in ready] == [("m", "1")]
        with pytest.raises(InferenceServerException, match="config: backend"):
            client.load_model("m", config=json.dumps({"backend": "python"}))
        assert reason_of(server, "none/load") == (404, "model_not_found")
        reply = exchange(server.http_port, "POST", "/v2/repository/models/none/unload", b"{}")
        assert (reply.status, reply.body) == (200, b"")
        assert "unknown model 'none'" in reply.headers["changeover-warning"]
        assert reason_of(server, "m/load", b"[1") == (400, "malformed_json")
        files = json.dumps({"parameters": {"file:3/model.onnx": "no base64!"}}).encode()
        assert reason_of(server, "m/load", files) == (400, "invalid_parameter")
        with pytest.raises(InferenceServerException, match="changeover push"):
            client.load_model("m", config="{}", files={"file:3/model.onnx": bytes(1 << 20)})
        assert client.is_model_ready("m", "1")


def test_a_load_brings_its_files(serve: Serve) -> None:
    """The bytes go past the link; the config counts, and what of it has no effect is told."""
    server = serve(model_control="explicit")
    server.plan("m", INSTANT)
    with triton(server) as client:
        config = json.dumps({"max_batch_size": 4})
        padded = scale(5) + b"\x12\x80\x80\x20" + bytes(1 << 19)  # its producer's name: half a megabyte
        client.load_model("m", config=config, files={"file:7/model.onnx": padded})
        assert client.is_model_ready("m", "7")
        body = json.dumps({"parameters": {"config": '{"optimization": {"cuda": {"graphs": true}}}'}}).encode()
        reply = exchange(server.http_port, "POST", "/v2/repository/models/m/load", body)
        assert (reply.status, reply.json()) == (200, {"warnings": ["optimization: it has no effect here"]})


@pytest.mark.parametrize("control", ["none", "poll"])
def test_calls_are_refused_unless_explicit(serve: Serve, control: str) -> None:
    """As Triton refuses them; the index answers all the same."""
    server = serve(model_control=control)
    server.deploy("m", scale(2))
    with triton(server) as client:
        with pytest.raises(InferenceServerException, match="explicit model load / unload is not allowed"):
            client.unload_model("m")
        assert reason_of(server, "m/load") == (503, "not_explicit")
        assert states(client) == {"m/1": "READY"}


def test_the_controller_dies_in_between(serve: Serve) -> None:
    """The caller hears it at once, as 503; the next controller ends what was begun, and the call can be repeated."""
    server = serve(model_control="explicit")
    put(server, "m", 1, scale(2))
    with triton(server) as client:
        client.load_model("m")
        slow = onnx_models.slow(200).SerializeToString()
        put(server, "m", 2, slow, INSTANT + "runtime: {max_batch: 1}\ngates: {performance: {enabled: false}}\n")
        told: list[Any] = []
        path = "/v2/repository/models/m/load"
        call = threading.Thread(target=lambda: told.append(exchange(server.http_port, "POST", path, b"{}")))
        call.start()
        wait_for(lambda: server.model("m")["rollout"]["to"]["version"] == "2", "the rollout")
        server.named("controller").kill()
        call.join(60)
        assert (told[0].status, told[0].json()["reason"]) == (503, "controller_away")
        assert client.is_model_ready("m", "1")
        server.wait_ready()
        client.load_model("m")
        assert client.is_model_ready("m", "2")


def test_an_unload_outlives_the_controller_and_the_server(serve: Serve) -> None:
    """It was decided: neither the next controller nor the next server loads the model by itself."""
    server = serve(model_control="explicit")
    put(server, "m", 1, scale(2))
    put(server, "n", 1, scale(3))
    with triton(server) as client:
        for model in ("m", "n"):
            client.load_model(model)
        client.unload_model("m")
        controller = server.named("controller")
        controller.kill()
        wait_for(lambda: not controller.is_running(), "its end")
        server.wait_ready()
        assert states(client) == {"m/1": "UNAVAILABLE", "n/1": "READY"}
    server.stop()
    server.start()
    server.wait_ready()
    with triton(server) as client:
        assert states(client) == {"m/1": "UNAVAILABLE", "n/1": "READY"}
        client.load_model("m")
        assert client.is_model_ready("m")
