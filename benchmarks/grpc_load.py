"""An open loop of `ModelInfer` calls by grpcio, every answer checked, until stdin ends.

    python benchmarks/grpc_load.py PORT MODEL RATE [TIMES]

MODEL is the package's digits, of which every odd version answers as the first one and every even one as the second.
Prints one JSON line: `failed` calls had no answer, `wrong` ones another version's values, and `stale` ones came from an
older epoch than one that had been answered before they were sent. TIMES is a file for when each answered call was due
(`time.monotonic`) and how long it took, in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import numpy as np
from grpc import aio

from changeover.demo import digits
from changeover.protocol.oip_grpc_messages import decode, encode

INFER = "/inference.GRPCInferenceService/ModelInfer"
CHANNELS = 4
DEADLINE = 30.0
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


class Load:
    """The calls and what came of them."""

    def __init__(self, model: str) -> None:
        samples = digits.load_samples()
        self._right = samples.scores["2"], samples.scores["1"]
        self._messages = [_message(model, image) for image in samples.inputs()]
        self._newest = 0
        self._times: list[tuple[float, float]] = []
        self.figures: dict[str, Any] = {"requests": 0, "failed": 0, "wrong": 0, "stale": 0, "why": []}

    async def ask(self, method: Any, due: float) -> None:
        """One call; its latency counts from when it was due."""
        figures = self.figures
        number = figures["requests"] % len(self._messages)
        figures["requests"] += 1
        newest = self._newest
        call = method(self._messages[number], timeout=DEADLINE)
        try:
            answer = decode("inference.ModelInferResponse", memoryview(await call))
            fields = dict(await call.initial_metadata())
        except aio.AioRpcError as error:
            figures["failed"] += 1
            figures["why"] = sorted({*figures["why"], f"{error.code().name}: {error.details()}"})[:5]
            return
        self._times.append((due, time.monotonic() - due))
        epoch = int(fields["changeover-epoch"])
        figures["stale"] += epoch < newest
        self._newest = max(self._newest, epoch)
        scores = np.frombuffer(answer["raw_output_contents"][0], np.float32)
        right = self._right[int(answer["model_version"]) % 2][number]
        figures["wrong"] += not np.allclose(scores, right, atol=1e-3, rtol=1e-3)

    def end(self, file: str | None) -> dict[str, Any]:
        """All figures, latencies in ms."""
        if file is not None:
            np.save(file, np.array(self._times).reshape(-1, 2).T)
        times = sorted(took for _, took in self._times)
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99)):
            self.figures[name] = round(times[int(len(times) * share)] * 1e3, 2) if times else None
        return self.figures


def _message(model: str, image: np.ndarray) -> bytes:
    tensor = {"name": digits.INPUT, "datatype": "FP32", "shape": [1, *image.shape]}
    raw = [image.astype(np.float32).tobytes()]
    return encode("inference.ModelInferRequest", {"model_name": model, "inputs": [tensor], "raw_input_contents": raw})


async def run(port: int, model: str, rate: float, file: str | None) -> dict[str, Any]:
    """Calls at even gaps over a few channels until stdin ends, then the answers of the last ones."""
    load, running = Load(model), set()
    channels = [aio.insecure_channel(f"127.0.0.1:{port}", OPTIONS) for _ in range(CHANNELS)]
    methods = [channel.unary_unary(INFER) for channel in channels]
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    due = time.monotonic()
    while not over.done():
        running.add(task := asyncio.ensure_future(load.ask(methods[load.figures["requests"] % CHANNELS], due)))
        task.add_done_callback(running.discard)
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    await asyncio.gather(*running)
    for channel in channels:
        await channel.close()
    return load.end(file)


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(asyncio.run(run(int(given[0]), given[1], float(given[2]), given[3] if given[3:] else None))))
