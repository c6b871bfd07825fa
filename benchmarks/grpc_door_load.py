"""A closed loop of unary calls by grpcio: `grpc_door_load.py PORT SECONDS CHANNELS CONCURRENT BYTES [CALLS]`.

Prints one JSON line. CALLS bounds the calls instead of the time. Every answer is compared with what was sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from grpc import aio

METHOD = "/echo.Echo/Echo"
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


async def caller(call: Any, body: bytes, until: float, left: list[int], figures: dict[str, Any]) -> None:
    """One caller: the next call when the last was answered."""
    while left[0] > 0 and time.perf_counter() < until:
        left[0] -= 1
        began = time.perf_counter()
        figures["requests"] += 1
        try:
            good = await call(body, timeout=30.0) == body
        except aio.AioRpcError as error:
            good = False
            figures["why"].append(f"{error.code().name}: {error.details()}")
        if good:
            figures["times"].append(time.perf_counter() - began)
        else:
            figures["lost"] += 1


async def run(port: int, seconds: float, channels: int, concurrent: int, size: int, calls: int) -> dict[str, Any]:
    opened = [aio.insecure_channel(f"127.0.0.1:{port}", OPTIONS) for _ in range(channels)]
    methods = [channel.unary_unary(METHOD) for channel in opened]
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    figures: dict[str, Any] = {"requests": 0, "lost": 0, "times": [], "why": []}
    await asyncio.gather(*(method(body, wait_for_ready=True, timeout=10.0) for method in methods))
    began = time.perf_counter()
    left = [calls or sys.maxsize]
    until = began + (seconds or 1e9)
    await asyncio.gather(
        *(caller(methods[number % channels], body, until, left, figures) for number in range(concurrent))
    )
    took = time.perf_counter() - began
    for channel in opened:
        await channel.close()
    times = sorted(figures.pop("times"))
    figures["why"] = sorted(set(figures["why"]))[:3]
    if times:
        figures |= {"per_second": round(len(times) / took), "p50_ms": round(times[len(times) // 2] * 1e3, 2)}
        figures["p99_ms"] = round(times[len(times) * 99 // 100] * 1e3, 2)
    return figures


def main() -> None:
    port, seconds, channels, concurrent, size, calls = (*map(float, sys.argv[1:]), 0.0, 0.0)[:6]
    arguments = int(port), seconds, int(channels), int(concurrent), int(size), int(calls)
    print(json.dumps(asyncio.run(run(*arguments))))


if __name__ == "__main__":
    main()
