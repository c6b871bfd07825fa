"""The limit: `session.run` in a loop with N callers in one process, no server. Prints runs per second and p50 in µs."""

from __future__ import annotations

import json
import os
import sys
import threading
import time

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort


def main(path: str, callers: int, seconds: float) -> None:
    """Run and print."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    shape = [d if isinstance(d, int) else 1 for d in session.get_inputs()[0].shape]
    feeds = {session.get_inputs()[0].name: np.random.default_rng(1).random(shape, np.float32)}
    for _ in range(200):
        session.run(None, feeds)
    counts: list[int] = []
    times: list[float] = []
    until = time.perf_counter() + seconds

    def call() -> None:
        count, now = 0, time.perf_counter()
        while now < until:
            session.run(None, feeds)
            after = time.perf_counter()
            times.append(after - now)
            count, now = count + 1, after
        counts.append(count)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"per_second": sum(counts) / seconds, "p50_us": sorted(times)[len(times) // 2] * 1e6}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
