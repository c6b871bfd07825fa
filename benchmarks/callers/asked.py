"""`infer`, and all that its arguments can ask for."""

from __future__ import annotations

import http.client
import importlib
from typing import Any

import numpy as np

from callers.book import Cases, holds, same
from callers.tritons import ALL, GRPC, HTTP, A, B, Triton, alike, close_to

CASES = Cases()


def _digits(caller: Triton) -> tuple[Any, Any]:
    """Eight images and their scores."""
    with np.load(caller.where["samples"]) as samples:
        return samples["images"], samples["scores"]


@CASES.case("infer digits", ALL)
async def _(caller: Triton) -> None:
    images, scores = _digits(caller)
    result = await caller.call("infer", "digits", [caller.put("image", images, "FP32")])
    close_to(result.as_numpy("scores"), scores)
    same(caller.head(result)["model_version"], "1")


@CASES.case("infer, outputs chosen", ALL)
async def _(caller: Triton) -> None:
    result = await caller.call("infer", "sums", caller.pair(), outputs=[caller.want("difference")])
    alike(result.as_numpy("difference"), A - B)
    same(result.as_numpy("sum"), None)
    wrong = caller.call("infer", "sums", caller.pair(), outputs=[caller.want("product")])
    holds(await caller.fails(wrong), "product")


@CASES.case("infer, class_count", ALL)
async def _(caller: Triton) -> None:
    images, scores = _digits(caller)
    for binary in (True, False) if caller.over_http else (True,):
        wanted = [caller.want("scores", binary=binary, classes=3)]
        result = await caller.call("infer", "digits", [caller.put("image", images, "FP32")], outputs=wanted)
        told = [e if isinstance(e, bytes) else str(e).encode() for e in result.as_numpy("scores").reshape(-1)]
        pairs = [entry.split(b":") for entry in told]
        best = np.argsort(-scores, axis=1)[:, :3].reshape(-1)
        same([int(pair[1]) for pair in pairs], best.tolist())
        values = np.array([float(pair[0]) for pair in pairs])
        close_to(values, np.take_along_axis(scores, best.reshape(-1, 3), 1).reshape(-1))


@CASES.case("infer, request_id and model_version", ALL)
async def _(caller: Triton) -> None:
    result = await caller.call("infer", "sums", caller.pair(), model_version="1", request_id="seven")
    caller.is_sum(result)
    head = caller.head(result)
    same((head["id"], head["model_name"], head["model_version"]), ("seven", "sums", "1"))
    holds(await caller.fails(caller.call("infer", "sums", caller.pair(), model_version="9")), "version")


@CASES.case("infer, priority and parameters", ALL)
async def _(caller: Triton) -> None:
    mine = {"mine": 5, "text": "t", "yes": True}
    caller.is_sum(await caller.call("infer", "sums", caller.pair(), priority=1, parameters=mine))


@CASES.case("infer, sequence_id for a stateless model", ALL)
async def _(caller: Triton) -> None:
    named = {"sequence_id": 7, "sequence_start": True, "sequence_end": True}
    caller.is_sum(await caller.call("infer", "sums", caller.pair(), **named))


@CASES.case("infer, timeout", ALL)
async def _(caller: Triton) -> None:
    caller.is_sum(await caller.call("infer", "sums", caller.pair(), timeout=20_000_000))
    error = await caller.fails(caller.call("infer", "slow", _slow(caller), timeout=1000))
    holds(error.status(), "504" if caller.over_http else "DEADLINE_EXCEEDED")  # type: ignore[attr-defined]
    result = await caller.call("infer", "slow", _slow(caller))
    same(list(result.as_numpy("y").shape), [1, 10])


def _slow(caller: Triton) -> list[Any]:
    return [caller.put("x", np.zeros((1, 256, 32, 32), np.float32), "FP32")]


@CASES.case("infer, errors of the caller", ALL)
async def _(caller: Triton) -> None:
    unknown = await caller.fails(caller.call("infer", "none", caller.pair()))
    holds(unknown, "unknown model")
    holds(unknown.status(), "404" if caller.over_http else "NOT_FOUND")  # type: ignore[attr-defined]
    misshapen = [caller.put("a", A[:, :3], "INT32"), caller.put("b", B[:, :3], "INT32")]
    wrong = await caller.fails(caller.call("infer", "sums", misshapen))
    holds(wrong, "shape")
    holds(wrong.status(), "400" if caller.over_http else "INVALID_ARGUMENT")  # type: ignore[attr-defined]
    holds(await caller.fails(caller.call("infer", "sums", caller.pair()[:1])), "b")


@CASES.case("headers of a call", ALL)
async def _(caller: Triton) -> None:
    caller.is_sum(await caller.call("infer", "sums", caller.pair(), headers={"changeover-version": "1"}))
    wrong = caller.call("infer", "sums", caller.pair(), headers={"changeover-version": "9"})
    holds(await caller.fails(wrong), "version")
    same(await caller.call("is_server_live", headers={"x-mine": "1"}), True)


@CASES.case("query_params of a call", HTTP)
async def _(caller: Triton) -> None:
    caller.is_sum(await caller.call("infer", "sums", caller.pair(), query_params={"mine": "1", "two": [1, 2]}))
    same(await caller.call("is_model_ready", "sums", query_params={"mine": "1"}), True)


@CASES.case("register_plugin", ALL)
async def _(caller: Triton) -> None:
    from tritonclient._plugin import InferenceServerClientPlugin

    class Version(InferenceServerClientPlugin):  # type: ignore[misc]
        def __call__(self, request: Any) -> None:
            request.headers["changeover-version"] = "9"

    plugin = Version()
    await caller.call("register_plugin", plugin)
    same(await caller.call("plugin"), plugin)
    try:
        error = await caller.fails(caller.call("infer", "sums", caller.pair(), headers={}))
    finally:
        await caller.call("unregister_plugin")
    holds(error, "version")
    auth = importlib.import_module(f"tritonclient.{caller.kind.split('.')[0]}.auth")
    await caller.call("register_plugin", auth.BasicAuth("me", "secret"))
    caller.is_sum(await caller.call("infer", "sums", caller.pair(), headers={}))
    await caller.call("unregister_plugin")


@CASES.case("infer, JSON both ways", HTTP)
async def _(caller: Triton) -> None:
    outputs = [caller.want(name, binary=False) for name in ("sum", "difference")]
    result = await caller.call("infer", "sums", caller.pair(binary=False), outputs=outputs)
    caller.is_sum(result)
    same(result.get_output("sum")["data"], (A + B).reshape(-1).tolist())


@CASES.case("generate_request_body, parse_response_body", HTTP)
async def _(caller: Triton) -> None:
    body, length = await caller.call("generate_request_body", caller.pair())
    headers = {"inference-header-content-length": str(length)}
    answer, length = _post(caller, "sums", bytes(body), headers)
    caller.is_sum(await caller.call("parse_response_body", answer, header_length=length))


@CASES.case("infer, a body that is the input itself", HTTP)
async def _(caller: Triton) -> None:
    images, scores = _digits(caller)  # of which one row is taken, as by Triton
    answer, length = _post(caller, "digits", images[:1].tobytes(), {"inference-header-content-length": "0"})
    result = await caller.call("parse_response_body", answer, header_length=length)
    close_to(result.as_numpy("scores"), scores[:1])


def _post(caller: Triton, model: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, int | None]:
    """By the standard library; the answer and its header's length."""
    connection = http.client.HTTPConnection(caller.address, timeout=20)
    try:
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        reply = connection.getresponse()
        told = reply.read()
        if reply.status != 200:
            raise AssertionError(f"answered {reply.status} {told[:200]!r}")
        length = reply.headers.get("inference-header-content-length")
        return told, int(length) if length else None
    finally:
        connection.close()


for _algorithm in ("gzip", "deflate"):

    @CASES.case(f"infer, request in {_algorithm}", HTTP)
    async def _(caller: Triton, algorithm: str = _algorithm) -> None:
        caller.is_sum(await caller.call("infer", "sums", caller.pair(), request_compression_algorithm=algorithm))
        put, want = caller.pair(binary=False), [caller.want(n, binary=False) for n in ("sum", "difference")]
        caller.is_sum(await caller.call("infer", "sums", put, outputs=want, request_compression_algorithm=algorithm))

    @CASES.case(f"infer, answer in {_algorithm}", HTTP)
    async def _(caller: Triton, algorithm: str = _algorithm) -> None:
        caller.is_sum(await caller.call("infer", "sums", caller.pair(), response_compression_algorithm=algorithm))

    @CASES.case(f"infer, messages in {_algorithm}", GRPC)
    async def _(caller: Triton, algorithm: str = _algorithm) -> None:
        images, scores = _digits(caller)  # small messages are not compressed
        put = [caller.put("image", images, "FP32")]
        result = await caller.call("infer", "digits", put, compression_algorithm=algorithm)
        close_to(result.as_numpy("scores"), scores)
