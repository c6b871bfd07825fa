"""A client generated from the protocol's own description, in its own environment: `generated.py TOLD oip|oip.aio`.

It sends every number as a fraction.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script, beside the bench's own folder

from open_inference.openapi.client import AsyncOpenInferenceClient, OpenInferenceClient
from open_inference.openapi.types.inference_request import InferenceRequest
from open_inference.openapi.types.request_input import RequestInput
from open_inference.openapi.types.request_output import RequestOutput
from open_inference.openapi.types.tensor_data import TensorData

from callers.book import Caller, Cases, holds, run, same, tell, told, uncalled

BOTH = ("oip", "oip.aio")
A, B = list(range(16)), [1000] * 16
CASES = Cases()


class Generated(Caller):
    """The client, plain or asynchronous."""

    def __init__(self, where: dict[str, Any]) -> None:
        self.type = OpenInferenceClient if where["client"] == "oip" else AsyncOpenInferenceClient
        super().__init__(self.type(base_url=f"http://{where['http']}"), where)


def _request(**more: Any) -> InferenceRequest:
    pairs = (("a", A), ("b", B))
    put = [RequestInput(name=n, shape=[1, 16], datatype="INT32", data=TensorData.parse_obj(v)) for n, v in pairs]
    return InferenceRequest(id="seven", inputs=put, **more)


def _is_sum(answer: Any, *names: str) -> None:
    same((answer.id, answer.model_name, answer.model_version), ("seven", "sums", "1"))
    expected = {"sum": [a + b for a, b in zip(A, B)], "difference": [a - b for a, b in zip(A, B)]}  # noqa: B905
    found = {output.name: output.dict()["data"] for output in answer.outputs}
    same({name: data.get("__root__", data) if isinstance(data, dict) else data for name, data in found.items()},
         {name: expected[name] for name in names or expected})  # fmt: skip


@CASES.case("check_server_liveness, _readiness", BOTH)
async def _(caller: Generated) -> None:
    same(await caller.call("check_server_liveness"), None)
    same(await caller.call("check_server_readiness"), None)


@CASES.case("check_model_readiness", BOTH)
async def _(caller: Generated) -> None:
    same(await caller.call("check_model_readiness", "sums"), None)
    same(await caller.call("check_model_version_readiness", "sums", "1"), None)
    holds(await caller.fails(caller.call("check_model_readiness", "none")), "unknown model")
    holds(await caller.fails(caller.call("check_model_version_readiness", "sums", "9")), "version")


@CASES.case("read_server_metadata", BOTH)
async def _(caller: Generated) -> None:
    found = await caller.call("read_server_metadata")
    same((found.name, found.version), ("changeover", caller.where["version"]))


@CASES.case("read_model_metadata", BOTH)
async def _(caller: Generated) -> None:
    for found in (
        await caller.call("read_model_metadata", "sums"),
        await caller.call("read_model_version_metadata", "sums", "1"),
    ):
        same((found.name, found.versions), ("sums", ["1"]))
        same([(put.name, put.datatype, put.shape) for put in found.inputs], [(n, "INT32", [-1, 16]) for n in "ab"])
    holds(await caller.fails(caller.call("read_model_metadata", "none")), "unknown model")


@CASES.case("model_infer, whole numbers as fractions", BOTH)
async def _(caller: Generated) -> None:
    _is_sum(await caller.call("model_infer", "sums", request=_request()))
    _is_sum(await caller.call("model_version_infer", "sums", "1", request=_request()))


@CASES.case("model_infer, outputs and parameters", BOTH)
async def _(caller: Generated) -> None:
    wanted = _request(outputs=[RequestOutput(name="difference")], parameters={"priority": 1, "mine": "x"})
    _is_sum(await caller.call("model_infer", "sums", request=wanted), "difference")


@CASES.case("model_infer, errors of the caller", BOTH)
async def _(caller: Generated) -> None:
    unknown = caller.call("model_infer", "none", request=_request())
    holds(await caller.fails(unknown), "unknown model")
    wrong = caller.call("model_infer", "sums", request=InferenceRequest(id="seven", inputs=_request().inputs[:1]))
    error = await caller.fails(wrong)
    same(type(error).__name__, "BadRequestError")
    holds(error, "missing input")


async def main() -> None:
    """All cases with one client."""
    caller = Generated(told())
    await run(caller, CASES)
    left = uncalled(caller, caller.type)
    tell("every public call was made", "FAIL" if left else "ok", request=", ".join(left), answer="no case makes them")


if __name__ == "__main__":
    asyncio.run(main())
