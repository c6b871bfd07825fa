"""The gRPC port from outside, by grpcio and by Triton's own client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from changeover.demo import digits
from changeover.testing import INSTANT, PATIENCE, Server, exchange
from tests import onnx_models
from tests.best import best
from tests.end_to_end.streams import Heard, put
from tests.grpc_traffic import OPTIONS, channel, method, numbers, question
from tests.needed import needed

grpc = needed("grpc")
triton = needed("tritonclient.grpc")
triton_aio = needed("tritonclient.grpc.aio")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with `double`, the digits, and a model that takes its time, one row a run."""
    with Server(tmp_path_factory.mktemp("grpc")) as made:
        made.deploy("double", onnx_models.scale(2).SerializeToString())
        made.deploy(digits.MODEL, digits.model_bytes("1"))
        made.plan("slow", INSTANT + "runtime: {max_batch: 1}\n")
        made.deploy("slow", onnx_models.slow(400).SerializeToString())
        yield made


@pytest.fixture
def open_channel(server: Server) -> Iterator[Any]:
    """A connection of its own."""
    with channel(server.grpc_port) as made:
        yield made


def refused(call: Any) -> tuple[str, str | None]:
    """Code and reason of a call that must fail."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    fields = dict(error.value.trailing_metadata() or ())
    return error.value.code().name, fields.get("changeover-reason")


def test_health_and_metadata(server: Server, open_channel: Any) -> None:
    """Triton's client finds server and models, with the same metadata as over HTTP."""
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert [client.is_model_ready(name) for name in ("double", "nobody")] == [True, False]
        server_told, server_http = client.get_server_metadata(), exchange(server.http_port, "GET", "/v2").json()
        assert (server_told.name, server_told.version) == (server_http["name"], server_http["version"])
        assert set(server_told.extensions) <= set(server_http["extensions"])  # some are endpoints of that port
        told = client.get_model_metadata("double")
        http = exchange(server.http_port, "GET", "/v2/models/double").json()
        assert [(t.name, t.datatype, list(t.shape)) for t in told.inputs] == [
            (t["name"], t["datatype"], t["shape"]) for t in http["inputs"]
        ]
        assert (told.name, list(told.versions), told.platform) == (http["name"], http["versions"], http["platform"])
        config = client.get_model_config("double", as_json=True)["config"]
        assert (config["backend"], config["input"][0]["data_type"]) == ("onnxruntime", "TYPE_FP32")
        index = {model.name: (model.version, model.state) for model in client.get_model_repository_index().models}
        assert index["double"] == ("1", "READY")
        with pytest.raises(InferenceServerException, match="--model-control explicit"):
            client.load_model("double")
        client.infer("double", put(triton, 1.0))
        (counted,) = client.get_inference_statistics("double").model_stats
        assert (counted.name, counted.version, counted.inference_count > 0) == ("double", "1", True)
    check = open_channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=PATIENCE) == b"\x08\x01"  # SERVING


def test_digits_have_the_same_scores_over_both_protocols(server: Server) -> None:
    """A batch of real images; id, version and epoch come with the scores."""
    images = digits.load_samples().inputs()[:8]
    put = triton.InferInput(digits.INPUT, list(images.shape), "FP32")
    put.set_data_from_numpy(images)
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        result = client.infer(digits.MODEL, [put], request_id="seven")
    request = {"inputs": [{"name": digits.INPUT, "shape": list(images.shape), "datatype": "FP32",
                           "data": images.reshape(-1).tolist()}]}  # fmt: skip
    over_http = server.infer(digits.MODEL, request).json()
    scores = np.array(over_http["outputs"][0]["data"], np.float32).reshape(over_http["outputs"][0]["shape"])
    assert np.allclose(result.as_numpy(digits.OUTPUT), scores, rtol=1e-5)
    told = result.get_response()
    assert (told.id, told.model_name, told.model_version) == ("seven", digits.MODEL, over_http["model_version"])


def test_tritons_asyncio_client(server: Server) -> None:
    """Many at once, each with its own answer; typed contents go in as well as raw ones."""

    async def scenario() -> None:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:

            async def ask(number: int) -> list[list[float]]:
                put = triton_aio.InferInput("x", [1, 4], "FP32")
                put.set_data_from_numpy(np.full((1, 4), number, np.float32))
                outputs = [triton_aio.InferRequestedOutput("y")]
                result = await client.infer("double", [put], outputs=outputs, client_timeout=PATIENCE)
                answer: list[list[float]] = result.as_numpy("y").tolist()
                return answer

            answers = await asyncio.gather(*map(ask, range(100)))
            assert answers == [[[2.0 * number] * 4] for number in range(100)]

    asyncio.run(scenario())


def test_typed_contents_are_taken(open_channel: Any) -> None:
    """As other clients than Triton's send them."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "contents": {"fp32_contents": [1, 2, 3, 4]}}
    answer = method(open_channel, "ModelInfer")({"model_name": "double", "inputs": [tensor]}, timeout=PATIENCE)
    assert numbers(answer) == [2, 4, 6, 8]


def test_metadata_act_as_the_headers_do(open_channel: Any) -> None:
    """Version, key and timeout of a call; the epoch of its answer."""
    infer = method(open_channel, "ModelInfer")
    asked = question("double", [1, 2, 3, 4])
    named = (("changeover-version", "1"), ("changeover-key", "me"), ("changeover-timeout", "20s"))
    answer, made = infer.with_call(asked, timeout=PATIENCE, metadata=named)
    assert (answer["model_version"], int(dict(made.initial_metadata())["changeover-epoch"]) > 0) == ("1", True)
    for field, reason in (("changeover-version", "version_not_found"), ("changeover-timeout", "invalid_timeout")):
        assert refused(lambda f=field: infer(asked, timeout=PATIENCE, metadata=((f, "never"),)))[1] == reason


def test_bad_input_has_a_code_and_a_reason(open_channel: Any) -> None:
    """And the connection goes on."""
    infer = method(open_channel, "ModelInfer")

    def of(asked: dict[str, Any]) -> tuple[str, str | None]:
        return refused(lambda: infer(asked, timeout=PATIENCE))

    good = question("double", [1, 2, 3, 4])
    assert of({**good, "model_name": "nobody"}) == ("NOT_FOUND", "model_not_found")
    assert of({**good, "model_version": "77"}) == ("NOT_FOUND", "version_not_found")
    assert of({**good, "outputs": [{"name": "z"}]}) == ("INVALID_ARGUMENT", "unknown_output")
    assert of(question("double", [1, 2, 3])) == ("INVALID_ARGUMENT", "shape_mismatch")
    assert of({**good, "raw_input_contents": [b"1"]}) == ("INVALID_ARGUMENT", "shape_data_mismatch")
    raw = open_channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert refused(lambda: raw(b"\xff\xff", timeout=PATIENCE)) == ("INVALID_ARGUMENT", "malformed_protobuf")
    other = open_channel.unary_unary("/inference.GRPCInferenceService/Nothing")
    assert refused(lambda: other(b"", timeout=PATIENCE)) == ("UNIMPLEMENTED", "method_not_served")
    assert numbers(infer(good, timeout=PATIENCE)) == [2, 4, 6, 8]


def test_a_deadline_ends_a_call_wherever_it_was_named(open_channel: Any) -> None:
    """By the server's word when the metadata name it, by the client's own when gRPC's word does."""
    infer = method(open_channel, "ModelInfer")
    asked = question("slow", [1, 2, 3, 4])
    hasty = (("changeover-timeout", "20ms"),)
    assert refused(lambda: infer(asked, timeout=PATIENCE, metadata=hasty)) == ("DEADLINE_EXCEEDED", "deadline_exceeded")
    assert refused(lambda: infer(asked, timeout=0.02))[0] == "DEADLINE_EXCEEDED"
    assert numbers(infer(asked, timeout=PATIENCE)) == [1, 2, 3, 4]


def test_cancelled_calls_make_room(open_channel: Any) -> None:
    """Forty calls for a slow model, then none: who comes next waits for what runs, not for those that left."""
    infer = method(open_channel, "ModelInfer")
    asked = question("slow", [1, 2, 3, 4])

    def singles() -> float:
        single = []
        for _ in range(3):
            began = time.monotonic()
            infer(asked, timeout=PATIENCE)
            single.append(time.monotonic() - began)
        running = [infer.future(asked, timeout=PATIENCE) for _ in range(40)]
        running[0].result()
        for call in running[1:]:
            call.cancel()
        began = time.monotonic()
        assert numbers(infer(asked, timeout=PATIENCE)) == [1, 2, 3, 4]
        return (time.monotonic() - began) / sorted(single)[1]

    assert best(singles, 15) < 15


def test_a_thousand_calls_at_once_over_one_channel(server: Server) -> None:
    """Each has its own answer."""

    async def scenario() -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}", OPTIONS) as over:
            infer = method(over, "ModelInfer")
            calls = [infer(question("double", [n, 0, 0, 0]), timeout=PATIENCE) for n in range(1000)]
            answers = await asyncio.gather(*calls)
            assert [numbers(answer)[0] for answer in answers] == [2.0 * n for n in range(1000)]

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["Gzip", "Deflate"])
def test_packed_messages_are_taken(open_channel: Any, name: str) -> None:
    """As grpcio packs them: of one call, or of all calls of a channel."""
    rows = 1000
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4]}
    raw = np.ones((rows, 4), np.float32).tobytes()
    asked = {"model_name": "double", "inputs": [tensor], "raw_input_contents": [raw]}
    packing = getattr(grpc.Compression, name)
    answer, made = method(open_channel, "ModelInfer").with_call(asked, timeout=PATIENCE, compression=packing)
    assert numbers(answer) == [2.0] * (4 * rows)
    assert dict(made.initial_metadata()).get("changeover-epoch")


def test_health_is_watched(open_channel: Any) -> None:
    """The first word comes at once; the call goes on until the client has enough, beside others on its channel."""
    watching = open_channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=PATIENCE)
    assert next(watching) == b"\x08\x01"  # SERVING
    assert numbers(method(open_channel, "ModelInfer")(question("double", [1, 2, 3, 4]), timeout=PATIENCE)) == [
        2,
        4,
        6,
        8,
    ]
    assert watching.is_active()
    assert watching.cancel()


def test_a_stream_answers_in_order_and_survives_errors(server: Server) -> None:
    """Slow and quick models mixed: answers keep the order of the requests, and what is wrong is told in its turn."""
    heard = Heard()
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        client.start_stream(heard)
        for number in range(30):
            model = {5: "nobody", 6: "slow", 20: "slow"}.get(number, "double")
            client.async_stream_infer(model, put(triton, number, 3 if number == 10 else 4), request_id=f"r{number}")
        heard.wait_for(30)
        client.stop_stream()
    wrong = [number for number, (_, error) in enumerate(heard.all) if error is not None]
    assert wrong == [5, 10]
    assert "unknown model 'nobody'" in str(heard.all[5][1])
    right = [(n, result) for n, (result, _) in enumerate(heard.all) if n not in wrong]
    assert [result.get_response().id for _, result in right] == [f"r{n}" for n, _ in right]
    assert [result.as_numpy("y")[0, 0] for _, result in right] == [n * (1 if n in (6, 20) else 2) for n, _ in right]


def test_tritons_asyncio_client_streams(server: Server) -> None:
    """Five hundred requests of a generator; the stream ends when the last one is answered."""

    async def scenario() -> None:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            for number in range(500):
                yield {"model_name": "double", "inputs": put(triton_aio, number), "request_id": str(number)}

        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
            numbers = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                numbers.append(float(result.as_numpy("y")[0, 0]))
            assert numbers == [2.0 * number for number in range(500)]

    asyncio.run(scenario())
