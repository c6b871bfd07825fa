"""What grpcio and tritonclient do in the door's proof: `grpc_door_client.py CHECK PORT [NUMBER]` prints a JSON line.

A process of its own, for its protobuf symbols and so that its load is not the prover's. `lost` counts calls that were
sent and not answered rightly; `refused` those that found nobody to connect to, and were never sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import grpc
from grpc import aio

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
OPTIONS += [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 100)]
OPTIONS += [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50)]
_PIECE = 64
Figures = dict[str, Any]


def _channel(port: int) -> aio.Channel:
    return aio.insecure_channel(f"127.0.0.1:{port}", OPTIONS)


def _method(channel: aio.Channel, name: str) -> Any:
    return channel.unary_unary(f"/echo.Echo/{name}")


async def _ask(method: Any, body: bytes, figures: Figures, **options: Any) -> None:
    figures["requests"] += 1
    began = time.perf_counter()
    try:
        if await method(body, timeout=20.0, **options) != body:
            raise ValueError("another answer")
    except (aio.AioRpcError, ValueError) as error:
        why = f"{error.code().name}: {error.details()}" if isinstance(error, aio.AioRpcError) else str(error)
        away = "failed to connect" in why.lower() or "connection refused" in why.lower()
        figures["refused" if away else "lost"] += 1
        if not away:
            figures["why"] = sorted({*figures["why"], why[:200]})[:3]
    figures["slowest_ms"] = max(figures["slowest_ms"], round((time.perf_counter() - began) * 1e3, 1))


def _figures() -> Figures:
    return {"requests": 0, "lost": 0, "refused": 0, "slowest_ms": 0.0, "why": []}


async def calls(port: int, number: int) -> Figures:
    """So many calls over one channel, 64 at a time, of different sizes."""
    figures = _figures()
    channel = _channel(port)
    echo = _method(channel, "Echo")

    async def caller(first: int) -> None:
        for turn in range(first, number, _PIECE):
            await _ask(echo, turn.to_bytes(8, "big") * (turn % 40 + 1), figures)

    began = time.perf_counter()
    await asyncio.gather(*map(caller, range(_PIECE)))
    figures["per_second"] = round(number / (time.perf_counter() - began))
    await channel.close()
    return figures


async def given_up(port: int, number: int) -> Figures:
    """So many missed deadlines and as many cancelled calls, with answered ones between them on the same channel."""
    figures = {**_figures(), "missed": 0, "cancelled": 0}
    channel = _channel(port)
    echo, late = _method(channel, "Echo"), _method(channel, "Late")

    async def misses(count: int) -> None:
        for turn in range(count):
            try:
                await late(b"0", timeout=0.005 + turn % 7 / 1000)
            except aio.AioRpcError as error:
                good = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                figures["missed" if good else "lost"] += 1
                figures["why"] = figures["why"] if good else [*figures["why"], str(error.details())][:3]

    async def cancels(count: int) -> None:
        for turn in range(count):
            running = late(b"0", timeout=20.0)
            await asyncio.sleep(turn % 3 / 1000)
            running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                figures["cancelled"] += 1
            except aio.AioRpcError as error:
                figures["lost"] += 1
                figures["why"] = [*figures["why"], str(error.details())][:3]

    stop = False

    async def asks() -> None:
        while not stop:
            await _ask(echo, b"beside", figures)
            await asyncio.sleep(0.001)

    beside = asyncio.ensure_future(asks())
    await asyncio.gather(*(misses(number // 50) for _ in range(50)), *(cancels(number // 50) for _ in range(50)))
    stop = True
    await beside
    await channel.close()
    return figures


async def open_loop(port: int, rate: int) -> Figures:
    """Calls at due times for 4 s over eight channels; a fifth of them takes 30 ms. The server goes away meanwhile."""
    figures = _figures()
    channels = [_channel(port) for _ in range(8)]
    echoes = [_method(channel, "Echo") for channel in channels]
    lates = [_method(channel, "Late") for channel in channels]
    await asyncio.gather(*(echo(b"there", wait_for_ready=True, timeout=10.0) for echo in echoes))
    print("ready", flush=True)
    began, running = time.perf_counter(), set()

    async def one(number: int) -> None:
        if number % 5:
            await _ask(echoes[number % 8], b"x" * 600, figures)
        else:
            await _ask(lates[number % 8], b"30", figures)

    for number in range(rate * 4):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        task = asyncio.ensure_future(one(number))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return figures


async def crowd(port: int, number: int) -> Figures:
    """So many calls at once over one channel, answered after 300 ms; keepalive pings every 50 ms meanwhile."""
    figures = _figures()
    pings = [("grpc.keepalive_time_ms", 50), ("grpc.keepalive_permit_without_calls", 1)]
    channel = aio.insecure_channel(f"127.0.0.1:{port}", [*OPTIONS, *pings, ("grpc.http2.max_pings_without_data", 0)])
    late = _method(channel, "Late")
    await asyncio.gather(*(_ask(late, b"300", figures) for _ in range(number)))
    await channel.close()
    return figures


async def large(port: int, number: int) -> Figures:
    """So many clients send and get 64 MiB, twice; small calls on the same channels meanwhile."""
    figures = _figures()
    body = bytes(range(256)) * (1 << 18)
    began = time.perf_counter()

    async def client() -> None:
        channel = _channel(port)
        echo = _method(channel, "Echo")
        for _ in range(2):
            await asyncio.gather(_ask(echo, body, figures), *(_ask(echo, b"beside", figures) for _ in range(20)))
        await channel.close()

    await asyncio.gather(*(client() for _ in range(number)))
    figures["mib_per_second"] = round(number * 2 * 128 / (time.perf_counter() - began))
    return figures


async def talks(port: int, number: int) -> Figures:
    """So many messages in 16 calls of one channel, small and large ones, with small calls beside them."""
    figures = _figures()
    channel = _channel(port)
    echo, talk, stop = _method(channel, "Echo"), channel.stream_stream("/echo.Echo/Talk"), False
    sizes = (0, 100, 3000, 70_000, 10, 300_000, 1)

    async def say(first: int) -> Any:
        for turn in range(first, number, 16):
            yield turn.to_bytes(8, "big") + bytes(sizes[turn % len(sizes)])

    async def talks(first: int) -> None:
        turn = first
        async for answer in talk(say(first)):
            figures["requests"] += 1
            figures["lost"] += answer != turn.to_bytes(8, "big") + bytes(sizes[turn % len(sizes)])
            turn += 16
        figures["lost"] += turn < number

    async def asks() -> None:
        while not stop:
            await _ask(echo, b"beside", figures)
            await asyncio.sleep(0.005)

    began, beside = time.perf_counter(), asyncio.ensure_future(asks())
    await asyncio.gather(*map(talks, range(16)))
    figures["per_second"] = round(number / (time.perf_counter() - began))
    stop = True
    await beside
    await channel.close()
    return figures


async def triton(port: int, number: int) -> Figures:
    """Tritonclient's own gRPC client against an echo of its request: what it gets is no model's answer, but whole."""
    import numpy as np
    import tritonclient.grpc.aio as client

    figures = _figures()
    async with client.InferenceServerClient(f"127.0.0.1:{port}") as server:
        array = np.arange(150_000, dtype=np.float32).reshape(1, -1)
        given = client.InferInput("x", list(array.shape), "FP32")
        given.set_data_from_numpy(array)
        for _ in range(number):
            figures["requests"] += 1
            answer = await server.infer("echo", [given], request_id="7", client_timeout=20.0)
            figures["lost"] += answer.get_response().model_name != "echo"
    return figures


CHECKS = {one.__name__: one for one in (calls, given_up, open_loop, crowd, large, talks, triton)}


def main() -> None:
    check, port, number = sys.argv[1], int(sys.argv[2]), int((*sys.argv, "0")[3])
    print(json.dumps(asyncio.run(CHECKS[check](port, number))))


if __name__ == "__main__":
    main()
