"""Clients that lose patience, calls that are taken back, and clients made with other options."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from callers.book import Cases, holds, same
from callers.tritons import ALL, GRPC, Triton
from callers.ways import Answers

CASES = Cases()
AT_ONCE = 0.001
"""Seconds in which the slow model cannot answer."""


def _slow(caller: Triton) -> list[Any]:
    return [caller.put("x", np.zeros((1, 256, 32, 32), np.float32), "FP32")]


async def _goes_on(caller: Triton) -> None:
    """The same client, and the slow model."""
    caller.is_sum(await caller.call("infer", "sums", caller.pair()))
    result = await caller.call("infer", "slow", _slow(caller))
    same(list(result.as_numpy("y").shape), [1, 10])


async def _other(caller: Triton, **options: Any) -> Triton:
    """The same kind of client with options."""
    other = Triton(caller.where)
    await other.call("close")
    other.client = caller.module.InferenceServerClient(caller.address, **options)
    return other


@CASES.case("timeout of the client", ALL)
async def _(caller: Triton) -> None:
    if not caller.over_http:
        error = await caller.fails(caller.call("infer", "slow", _slow(caller), client_timeout=AT_ONCE))
        holds(error.status(), "DEADLINE_EXCEEDED")  # type: ignore[attr-defined]
    else:
        named = {"network_timeout": AT_ONCE} if caller.kind == "http" else {"conn_timeout": AT_ONCE}
        other = await _other(caller, **named)
        error = await caller.fails(other.call("infer", "slow", _slow(other)))
        holds(repr(error), "time")
        await other.call("close")
    await _goes_on(caller)


@CASES.case("cancel", ["http.aio", "grpc.aio"])
async def _(caller: Triton) -> None:
    tasks = [asyncio.ensure_future(caller.call("infer", "slow", _slow(caller))) for _ in range(5)]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    same(all(isinstance(answer, BaseException) for answer in told[1:]), True)  # the first may have been answered
    await _goes_on(caller)


@CASES.case("async_infer, cancel", ["grpc"])
async def _(caller: Triton) -> None:
    answers = Answers()
    calls = [await caller.call("async_infer", "slow", _slow(caller), answers) for _ in range(5)]
    for call in calls:
        call.cancel()
    for _ in calls:
        holds(answers.next(), "cancel")
    await _goes_on(caller)


@CASES.case("keepalive and channel options", GRPC)
async def _(caller: Triton) -> None:
    from tritonclient.grpc import KeepAliveOptions

    often = KeepAliveOptions(keepalive_time_ms=1000, keepalive_timeout_ms=500, keepalive_permit_without_calls=True)
    for options in ({"keepalive_options": often}, {"channel_args": [("grpc.max_receive_message_length", 1 << 20)]}):
        other = await _other(caller, **options)
        other.is_sum(await other.call("infer", "sums", other.pair()))
        await asyncio.sleep(0.0 if "channel_args" in options else 2.5)
        other.is_sum(await other.call("infer", "sums", other.pair()))
        await other.call("close")


@CASES.case("as a context manager", ALL)
async def _(caller: Triton) -> None:
    made = caller.module.InferenceServerClient(caller.address)
    if caller.kind.endswith("aio"):
        async with made as client:
            same(await client.is_server_live(), True)
    else:
        with made as client:
            same(client.is_server_live(), True)
