"""The Open Inference Protocol from outside, by Triton's own client and by hand."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as sync_client
import tritonclient.http.aio as aio_client
from tritonclient.utils import InferenceServerException

from changeover.tensors import Datatype
from changeover.testing import Server, exchange
from tests import onnx_models

FLOATS = [0.0, -1.5, 2.25, 0.5, 3.0, -0.25, 100.0, 1.0]


def sample(datatype: Datatype) -> np.ndarray[Any, Any]:
    """Two rows of four values that each datatype can hold exactly."""
    if datatype is Datatype.BYTES:
        return np.array(["", "a", "two words", "ünï", "x" * 300, "7", "é", "end"], dtype=object).reshape(2, 4)
    if datatype is Datatype.BOOL:
        return np.array([True, False] * 4).reshape(2, 4)
    if datatype in (Datatype.FP16, Datatype.FP32, Datatype.FP64):
        return np.array(FLOATS, datatype.numpy).reshape(2, 4)
    if datatype is Datatype.BF16:
        return np.array(FLOATS, ml_dtypes.bfloat16).reshape(2, 4)
    limits = np.iinfo(datatype.numpy)
    return np.array([limits.min, limits.max, 0, 1, 2, 3, 4, 5], datatype.numpy).reshape(2, 4)


@pytest.fixture(scope="module")
def server(shared_server: Server) -> Server:
    """A server with an identity of each datatype."""
    for datatype in Datatype:
        rollout = shared_server.deploy(f"id_{datatype.name}", onnx_models.identity(datatype).SerializeToString())
        assert rollout["phase"] == "succeeded", rollout
    return shared_server


@pytest.fixture
def client(server: Server) -> Iterator[sync_client.InferenceServerClient]:
    """Triton's client."""
    with sync_client.InferenceServerClient(f"127.0.0.1:{server.http_port}") as made:
        yield made


def question(module: Any, datatype: Datatype, binary: bool) -> tuple[list[Any], list[Any]]:
    """Inputs and requested outputs of a sample."""
    put = module.InferInput("x", [2, 4], datatype.name)
    put.set_data_from_numpy(sample(datatype), binary_data=binary)
    return [put], [module.InferRequestedOutput("y", binary_data=binary)]


def same(datatype: Datatype, got: np.ndarray[Any, Any]) -> bool:
    """Whether an answer is the sample."""
    want = sample(datatype)
    if datatype is Datatype.BYTES:
        texts = [v.decode() if isinstance(v, bytes) else v for v in got.reshape(-1)]
        return texts == list(want.reshape(-1))
    return got.shape == (2, 4) and bool(np.array_equal(got.astype(want.dtype), want))


IN_JSON = [d for d in Datatype if d not in (Datatype.FP16, Datatype.BF16)]
"""Triton's client itself refuses to write the other two as JSON."""


@pytest.mark.parametrize("datatype", Datatype, ids=lambda d: d.name)
def test_every_datatype_in_binary_form(client: sync_client.InferenceServerClient, datatype: Datatype) -> None:
    """What goes in as raw bytes comes out of an identity unchanged."""
    inputs, outputs = question(sync_client, datatype, binary=True)
    result = client.infer(f"id_{datatype.name}", inputs, outputs=outputs)
    assert same(datatype, result.as_numpy("y"))


@pytest.mark.parametrize("datatype", IN_JSON, ids=lambda d: d.name)
def test_every_datatype_in_json(client: sync_client.InferenceServerClient, datatype: Datatype) -> None:
    """What goes in as JSON comes out of an identity unchanged."""
    inputs, outputs = question(sync_client, datatype, binary=False)
    result = client.infer(f"id_{datatype.name}", inputs, outputs=outputs)
    assert same(datatype, result.as_numpy("y"))


@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.BF16])
def test_half_precision_as_json_numbers(server: Server, datatype: Datatype) -> None:
    """The two types that Triton's client does not write as JSON are taken and given as numbers."""
    tensor = {"name": "x", "shape": [2, 4], "datatype": datatype.name, "data": FLOATS}
    answer = server.infer(f"id_{datatype.name}", {"inputs": [tensor]}).json()
    assert answer["outputs"] == [{"name": "y", "datatype": datatype.name, "shape": [2, 4], "data": FLOATS}]


@pytest.mark.parametrize("binary", [True, False])
def test_every_datatype_through_the_asynchronous_client(server: Server, binary: bool) -> None:
    """All at once over one client of tritonclient's asyncio flavour."""
    kinds = list(Datatype) if binary else IN_JSON

    async def ask() -> list[bool]:
        async with aio_client.InferenceServerClient(f"127.0.0.1:{server.http_port}") as client:

            async def one(datatype: Datatype) -> bool:
                inputs, outputs = question(aio_client, datatype, binary)
                result = await client.infer(f"id_{datatype.name}", inputs, outputs=outputs)
                return same(datatype, result.as_numpy("y"))

            return list(await asyncio.wait_for(asyncio.gather(*map(one, kinds)), 30))

    assert asyncio.run(ask()) == [True] * len(kinds)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_request_of_the_client(client: sync_client.InferenceServerClient, algorithm: str) -> None:
    """Whichever of the two the client packs it with, and the tensors are binary behind the JSON."""
    put = sync_client.InferInput("x", [1, 4], "FP32")
    put.set_data_from_numpy(np.array([[1, 2, 3, 4]], np.float32))
    answer = client.infer("double", [put], request_compression_algorithm=algorithm)
    assert answer.as_numpy("y").tolist() == [[2, 4, 6, 8]]


def test_health_and_metadata(client: sync_client.InferenceServerClient) -> None:
    """Server and model tell what Triton's client asks for."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("double")
    assert client.is_model_ready("double", "1")
    assert client.get_server_metadata()["name"] == "changeover"
    metadata = client.get_model_metadata("double", "1")
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]


def test_health_through_the_asynchronous_client(server: Server) -> None:
    """The asyncio flavour agrees."""

    async def ask() -> tuple[bool, bool, list[str]]:
        async with aio_client.InferenceServerClient(f"127.0.0.1:{server.http_port}") as client:
            metadata = await client.get_model_metadata("double")
            return await client.is_server_live(), await client.is_server_ready(), metadata["versions"]

    assert asyncio.run(asyncio.wait_for(ask(), 30)) == (True, True, ["1"])


def test_unknown_names_are_told_to_the_client(client: sync_client.InferenceServerClient) -> None:
    """An unknown model and version are an error with a sentence, and readiness says no."""
    inputs, _ = question(sync_client, Datatype.FP32, binary=True)
    with pytest.raises(InferenceServerException, match="unknown model 'nobody'"):
        client.infer("nobody", inputs)
    with pytest.raises(InferenceServerException, match="no version '7'"):
        client.infer("double", inputs, model_version="7")
    assert not client.is_model_ready("nobody")


def row(values: list[Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A request of one row for `double`."""
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": values or [1, 2, 3, 4], **changes}]}


def test_an_answer_names_version_epoch_and_id(server: Server) -> None:
    """`model_version` and `id` are in the answer, `changeover-epoch` in its head."""
    reply = server.infer("double", {"id": "q7", **row()})
    told = reply.json()
    assert (reply.status, told["model_version"], told["id"]) == (200, "1", "q7")
    assert int(reply.headers["changeover-epoch"]) >= 1
    assert told["outputs"][0]["data"] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("request_body", "status", "reason"),
    [
        ({"inputs": []}, 400, "missing_input"),
        (row(name="z"), 400, "unknown_input"),
        (row(datatype="FP64"), 400, "datatype_mismatch"),
        (row(shape=[4]), 400, "shape_mismatch"),
        (row([1, 2, 3]), 400, "shape_data_mismatch"),
        (row(["a", "b", "c", "d"]), 400, "wrong_type"),
        (row(shape=[0, 4], data=[]), 400, "rows_mismatch"),
        ({**row(), "outputs": [{"name": "w"}]}, 400, "unknown_output"),
        ({**row(), "parameters": {"timeout": -1}}, 400, "invalid_timeout"),
    ],
)
def test_a_wrong_request_is_the_callers_fault(
    server: Server, request_body: dict[str, Any], status: int, reason: str
) -> None:
    """Each mistake has its own stable word and a sentence."""
    reply = server.infer("double", request_body)
    told = reply.json()
    assert (reply.status, told["reason"]) == (status, reason)
    assert len(told["error"]) > 10


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("POST", "/v2/models/nobody/infer", b"{}", 404, "model_not_found"),
        ("POST", "/v2/models/double/versions/9/infer", None, 404, "version_not_found"),
        ("GET", "/v2/models/double/versions/9", None, 404, "version_not_found"),
        ("GET", "/v3", None, 404, "path_not_found"),
        ("GET", "/v2/models/double/infer", None, 405, "method_not_allowed"),
        ("POST", "/v2/health/live", b"{}", 405, "method_not_allowed"),
        ("POST", "/v2/models/double/infer", b"{", 400, "malformed_json"),
        ("POST", "/v2/models/double/infer", b"[" * 500, 400, None),
    ],
)
def test_wrong_addresses_and_bodies(
    server: Server, method: str, path: str, body: bytes | None, status: int, reason: str | None
) -> None:
    """Unknown paths, methods and broken JSON are told with a status and a reason."""
    if body is None and method == "POST":
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
        reply = server.infer("double", {"inputs": [tensor]}, version="9")
    else:
        reply = exchange(server.http_port, method, path, body)
    assert reply.status == status
    assert reason is None or reply.json()["reason"] == reason


@pytest.mark.parametrize("header", ["changeover_timeout", None])
def test_a_deadline_that_passes_is_504(server: Server, header: str | None) -> None:
    """The header and the parameter both limit the time, and the answer says so."""
    server.plan("lazy", "runtime: {max_batch: 1}")
    if server.get("/v2/models/lazy").status != 200:
        server.deploy("lazy", onnx_models.endless().SerializeToString())
    long = row([100_000, 0, 0, 0])
    asked = long if header else {**long, "parameters": {"timeout": 50_000}}
    reply = server.infer("lazy", asked, **({header: "50ms"} if header else {}))
    assert (reply.status, reply.json()["reason"]) == (504, "deadline_exceeded")


def test_a_body_over_the_limit_is_413(serve: Any) -> None:
    """The size is refused from the head, before the body is read."""
    server = serve(body_limit=100_000)
    reply = exchange(server.http_port, "POST", "/v2/models/m/infer", b" " * 100_001)
    assert (reply.status, bool(reply.json()["reason"])) == (413, True)


def test_a_body_over_the_limit_once_it_is_unpacked_is_413(serve: Any) -> None:
    """A small one that unpacks to more is no way around; one at the limit is read, and refused for what it says."""
    server = serve(body_limit=100_000)
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    packed = {"content-encoding": "gzip"}
    for size, expected in ((100_001, (413, "too_large")), (100_000, (400, "malformed_json"))):
        reply = exchange(server.http_port, "POST", "/v2/models/m/infer", gzip.compress(b" " * size), packed)
        assert (reply.status, reply.json()["reason"]) == expected
