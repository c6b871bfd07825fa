"""tritonclient against the echo application; one JSON line. `python benchmarks/door_triton.py PORT COUNT`."""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio


def tensor(module: object, number: int, width: int) -> tuple[np.ndarray, object]:
    values = np.full((1, width), number, np.float32)
    given = module.InferInput("INPUT", values.shape, "FP32")  # type: ignore[attr-defined]
    given.set_data_from_numpy(values, binary_data=True)
    return values, given


def threads_and_sync(port: int, count: int) -> tuple[int, int]:
    """Single calls, then the client's own pool of greenlets; returns sent and wrong."""
    client = triton.InferenceServerClient(f"127.0.0.1:{port}", concurrency=8)
    wrong = 0 if client.is_server_live() and client.get_server_metadata()["name"] == "echo" else 1
    for number in range(count // 2):
        values, given = tensor(triton, number, 64 if number % 10 else 150_000)
        answer = client.infer("echo", [given]).as_numpy("OUTPUT")
        wrong += not np.array_equal(answer, values)
    pending = []
    for number in range(count // 2):
        values, given = tensor(triton, number, 64)
        pending.append((values, client.async_infer("echo", [given])))
    for values, promise in pending:
        wrong += not np.array_equal(promise.get_result().as_numpy("OUTPUT"), values)
    client.close()
    return 2 + count // 2 * 2, wrong


async def aio(port: int, count: int) -> tuple[int, int]:
    """The asyncio client; returns sent and wrong."""
    wrong = 0
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{port}") as client:
        for number in range(count):
            values, given = tensor(triton_aio, number, 64)
            answer = (await client.infer("echo", [given])).as_numpy("OUTPUT")
            wrong += not np.array_equal(answer, values)
    return count, wrong


def main() -> None:
    port, count = int(sys.argv[1]), int(sys.argv[2])
    sent, wrong = threads_and_sync(port, count)
    sent_aio, wrong_aio = asyncio.run(aio(port, count // 4))
    print(json.dumps({"sent": sent + sent_aio, "lost": wrong + wrong_aio}))


if __name__ == "__main__":
    main()
