"""Other ways to infer than one call after the other: asynchronous calls and streams."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

from callers.book import PATIENCE, Cases, holds, same
from callers.tritons import Triton

CASES = Cases()
MANY = 20


class Answers(queue.SimpleQueue[Any]):
    """What callbacks are given, in their order."""

    def __call__(self, result: Any, error: Any) -> None:
        self.put((result, error))

    def next(self) -> Any:
        """The next result or error."""
        result, error = self.get(timeout=PATIENCE)
        return error or result


@CASES.case("async_infer", ["http"])
async def _(caller: Triton) -> None:
    caller.client.close()
    caller.client = caller.module.InferenceServerClient(caller.address, concurrency=4)
    asked = [await caller.call("async_infer", "sums", caller.pair(), request_id=f"n{n}") for n in range(MANY)]
    for number, one in enumerate(asked):
        result = one.get_result(block=True, timeout=PATIENCE)
        caller.is_sum(result)
        same(caller.head(result)["id"], f"n{number}")
    wrong = await caller.call("async_infer", "none", caller.pair())
    try:
        told = wrong.get_result(timeout=PATIENCE)
    except Exception as error:  # noqa: BLE001 - looked at
        holds(error, "unknown model")
    else:
        raise AssertionError(f"answered {told!r}")


@CASES.case("infer, many at once", ["http.aio", "grpc.aio"])
async def _(caller: Triton) -> None:
    asked = [caller.call("infer", "sums", caller.pair(), request_id=f"n{n}") for n in range(MANY)]
    for number, result in enumerate(await asyncio.gather(*asked)):
        caller.is_sum(result)
        same(caller.head(result)["id"], f"n{number}")


@CASES.case("async_infer with a callback", ["grpc"])
async def _(caller: Triton) -> None:
    answers = Answers()
    for number in range(MANY):
        await caller.call("async_infer", "sums", caller.pair(), answers, request_id=f"n{number}")
    results = [answers.next() for _ in range(MANY)]
    for result in results:
        caller.is_sum(result)
    same({caller.head(result)["id"] for result in results}, {f"n{number}" for number in range(MANY)})
    await caller.call("async_infer", "none", caller.pair(), answers)
    holds(answers.next(), "unknown model")


@CASES.case("start_stream, async_stream_infer, stop_stream", ["grpc"])
async def _(caller: Triton) -> None:
    await _stream(caller, headers={"x-mine": "1"})


@CASES.case("start_stream in gzip", ["grpc"])
async def _(caller: Triton) -> None:
    await _stream(caller, compression_algorithm="gzip")


async def _stream(caller: Triton, **named: Any) -> None:
    answers = Answers()
    await caller.call("start_stream", answers, **named)
    try:
        for number in range(MANY):
            model = "none" if number == 3 else "sums"
            await caller.call("async_stream_infer", model, caller.pair(), request_id=f"n{number}")
        for number in range(MANY):
            _streamed(caller, number, answers.next())
    finally:
        await caller.call("stop_stream")


def _streamed(caller: Triton, number: int, told: Any) -> None:
    """The fourth request of a stream has an error, the others go on."""
    if number == 3:
        holds(told, "unknown model")
        return
    if isinstance(told, Exception):
        raise told
    caller.is_sum(told)
    same(caller.head(told)["id"], f"n{number}")


@CASES.case("async_stream_infer, enable_empty_final_response", ["grpc"])
async def _(caller: Triton) -> None:
    answers = Answers()
    await caller.call("start_stream", answers)
    try:
        await caller.call("async_stream_infer", "sums", caller.pair(), enable_empty_final_response=True)
        told = answers.next()
        if isinstance(told, Exception):
            raise told
        caller.is_sum(told)
        final = told.get_response().parameters["triton_final_response"].bool_param
        if not final:
            raise AssertionError("triton_final_response is not in the answer's parameters")
    finally:
        await caller.call("stop_stream")


@CASES.case("start_stream, stream_timeout", ["grpc"])
async def _(caller: Triton) -> None:
    answers = Answers()
    await caller.call("start_stream", answers, stream_timeout=0.2)
    holds(answers.next(), "deadline")
    await caller.call("stop_stream")


@CASES.case("stop_stream, requests cancelled", ["grpc"])
async def _(caller: Triton) -> None:
    answers = Answers()
    await caller.call("start_stream", answers)
    await caller.call("async_stream_infer", "sums", caller.pair())
    caller.is_sum(answers.next())
    await caller.call("stop_stream", cancel_requests=True)
    caller.is_sum(await caller.call("infer", "sums", caller.pair()))


async def _requests(caller: Triton) -> AsyncIterator[dict[str, Any]]:
    for number in range(MANY):
        model = "none" if number == 3 else "sums"
        yield {"model_name": model, "inputs": caller.pair(), "request_id": f"n{number}"}


@CASES.case("stream_infer", ["grpc.aio"])
async def _(caller: Triton) -> None:
    await _streams(caller)


@CASES.case("stream_infer in gzip", ["grpc.aio"])
async def _(caller: Triton) -> None:
    await _streams(caller, compression_algorithm="gzip")


async def _streams(caller: Triton, **named: Any) -> None:
    number = 0
    async for result, error in await caller.call("stream_infer", _requests(caller), **named):
        _streamed(caller, number, error or result)
        number += 1
    same(number, MANY)


@CASES.case("stream_infer, cancel", ["grpc.aio"])
async def _(caller: Triton) -> None:
    held = asyncio.Event()

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": "sums", "inputs": caller.pair()}
        await held.wait()

    answers = await caller.call("stream_infer", requests())
    result, error = await anext(answers)
    same(error, None)
    caller.is_sum(result)
    same(answers.cancel(), True)
    held.set()
    caller.is_sum(await caller.call("infer", "sums", caller.pair()))
