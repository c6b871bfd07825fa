"""One of KServe's two inference clients, in an environment of its own: `kserves.py TOLD rest|grpc`."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, beside the bench's own folder

from callers.book import Caller, Cases, holds, run, same, tell, told, uncalled

REST, GRPC = "kserve rest", "kserve grpc"
BOTH = (REST, GRPC)
CASES = Cases()
A = np.arange(32, dtype=np.int32).reshape(2, 16)
B = np.full((2, 16), 1000, np.int32)


class KServe(Caller):
    """A client of KServe's: over REST each call names the address."""

    def __init__(self, where: dict[str, Any]) -> None:
        self.rest = where["client"] == REST
        self.base = (f"http://{where['http']}",) if self.rest else ()
        made = InferenceRESTClient(RESTConfig(protocol="v2")) if self.rest else InferenceGRPCClient(where["grpc"])
        super().__init__(made, where)

    async def ask(self, name: str, *given: Any, **named: Any) -> Any:
        """A call with the address, where there is one."""
        return await self.call(name, *self.base, *given, **named)

    async def infer(self, model: str, arrays: dict[str, tuple[Any, str]], **how: Any) -> Any:
        """An inference; `binary` inputs or `outputs` that are asked for with parameters."""
        binary, outputs = how.pop("binary", True), how.pop("outputs", None)
        inputs = []
        for name, (array, datatype) in arrays.items():
            put = InferInput(name, list(array.shape), datatype)
            put.set_data_from_numpy(array, binary_data=binary)
            inputs.append(put)
        wanted = outputs and [RequestedOutput(name, parameters) for name, parameters in outputs.items()]
        request = InferRequest(model, inputs, request_id="seven", request_outputs=wanted)
        more = {"model_name": model} if self.rest else {}
        return await self.ask("infer", request, **more, **how)


def _outputs(answer: Any) -> dict[str, Any]:
    return {output.name: output for output in answer.outputs}


PAIR = {"a": (A, "INT32"), "b": (B, "INT32")}


def _is_sum(answer: Any) -> None:
    same((answer.id, answer.model_name), ("seven", "sums"))
    same(answer.model_version in (None, "1"), True)  # the client's REST half does not read it
    for name, expected in (("sum", A + B), ("difference", A - B)):
        output = _outputs(answer)[name]
        same((output.datatype, list(output.shape)), ("INT32", [2, 16]))
        same(output.as_numpy().tolist(), expected.tolist())


@CASES.case("is_server_live", BOTH)
async def _(caller: KServe) -> None:
    same(await caller.ask("is_server_live"), True)


@CASES.case("is_server_ready", BOTH)
async def _(caller: KServe) -> None:
    same(await caller.ask("is_server_ready"), True)


@CASES.case("is_model_ready", BOTH)
async def _(caller: KServe) -> None:
    for model, ready in (("digits", True), ("none", False)):
        same(await caller.ask("is_model_ready", model), ready)


@CASES.case("infer digits", BOTH)
async def _(caller: KServe) -> None:
    with np.load(caller.where["samples"]) as samples:
        images, scores = samples["images"], samples["scores"]
    answer = await caller.infer("digits", {"image": (images, "FP32")})
    found = _outputs(answer)["scores"].as_numpy()
    same(found.shape, scores.shape)
    same(np.allclose(found, scores, atol=1e-3), True)


@CASES.case("infer, binary", BOTH)
async def _(caller: KServe) -> None:
    _is_sum(await caller.infer("sums", PAIR))


@CASES.case("infer, JSON or typed contents", BOTH)
async def _(caller: KServe) -> None:
    _is_sum(await caller.infer("sums", PAIR, binary=False))


@CASES.case("infer, binary outputs", BOTH)
async def _(caller: KServe) -> None:
    outputs = {name: {"binary_data": True} for name in ("sum", "difference")}
    _is_sum(await caller.infer("sums", PAIR, outputs=outputs))


@CASES.case("infer a dict", [REST])
async def _(caller: KServe) -> None:
    inputs = [{"name": n, "shape": [2, 16], "datatype": t, "data": a.tolist()} for n, (a, t) in PAIR.items()]
    _is_sum(await caller.ask("infer", {"id": "seven", "inputs": inputs}, model_name="sums"))


@CASES.case("infer, headers and timeout", BOTH)
async def _(caller: KServe) -> None:
    def version(number: str) -> Any:
        return {"changeover-version": number} if caller.rest else (("changeover-version", number),)

    _is_sum(await caller.infer("sums", PAIR, headers=version("1"), timeout=20.0))
    holds(await caller.fails(caller.infer("sums", PAIR, headers=version("9"))), "version")


@CASES.case("infer, response_headers", [REST])
async def _(caller: KServe) -> None:
    fields: dict[str, str] = {}
    _is_sum(await caller.infer("sums", PAIR, response_headers=fields))
    same(int(fields["changeover-epoch"]) > 0, True)


@CASES.case("infer, errors of the caller", BOTH)
async def _(caller: KServe) -> None:
    holds(await caller.fails(caller.infer("none", PAIR)), "unknown model", "404" if caller.rest else "NOT_FOUND")
    wrong = {"a": (A[:, :3], "INT32"), "b": (B[:, :3], "INT32")}
    holds(await caller.fails(caller.infer("sums", wrong)), "shape", "400" if caller.rest else "INVALID_ARGUMENT")


@CASES.case("explain", [REST], outside=True)
async def _(caller: KServe) -> None:
    """Of the protocol's version 1 only, says the client itself."""
    holds(repr(await caller.fails(caller.ask("explain", "digits", {}))), "UnsupportedProtocol")


VALUES: dict[str, Any] = {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    **{kind.upper(): np.array([[1, 2, 3], [4, 5, np.iinfo(kind).max]], kind) for kind in (
        "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")},
    "FP16": np.array([[1.5, -2.25, 0], [65504, 1, 2]], np.float16),
    "FP32": np.array([[1.5, -2.25, 0], [3.4e38, 1, 2]], np.float32),
    "FP64": np.array([[1.5, -2.25, 0], [1.7e308, 1, 2]], np.float64),
    "BYTES": np.array([[b"one", "grün".encode(), b"\n"], [b'"', b"x" * 300, b"a"]], object),
}  # fmt: skip


def _through(datatype: str, *, binary: bool) -> Any:
    async def check(caller: KServe) -> None:
        values = VALUES[datatype]
        answer = await caller.infer(f"same_{datatype}", {"x": (values, datatype)}, binary=binary)
        output = _outputs(answer)["y"]
        same((output.datatype, list(output.shape)), (datatype, [2, 3]))
        found = output.as_numpy().reshape(-1).tolist()
        if datatype == "BYTES":
            found = [e.encode() if isinstance(e, str) else e for e in found]
        same(found, values.reshape(-1).tolist())

    return check


for _datatype in VALUES:
    CASES.case(f"infer {_datatype}, binary", BOTH)(_through(_datatype, binary=True))
    if _datatype != "FP16":  # which has no typed contents, and the client no JSON of it
        CASES.case(f"infer {_datatype}, JSON", BOTH)(_through(_datatype, binary=False))


async def main() -> None:
    """All cases with one client."""
    logging.disable(logging.CRITICAL)  # failures are told by the book
    caller = KServe(told())
    await run(caller, CASES)
    await caller.call("close")
    left = uncalled(caller, InferenceRESTClient if caller.rest else InferenceGRPCClient)
    tell("every public call was made", "FAIL" if left else "ok", request=", ".join(left), answer="no case makes them")


if __name__ == "__main__":
    asyncio.run(main())
