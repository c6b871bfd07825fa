"""A worker is killed: how long until its replacement gives the first answer; and what a second load costs.

python benchmarks/replacement.py [ROUNDS]
"""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request

import numpy as np

from changeover.demo import digits
from models import large_cnn
from rig import Server, binary_body, emit, median, say, verdict


def killed_worker(rounds: int) -> None:
    """From SIGKILL to the first answer, small model; the request is sent right after the kill and must succeed."""
    image = np.random.default_rng(7).random((1, 1, 28, 28), np.float32)
    body, headers = binary_body(digits.INPUT, image)
    times: list[float] = []
    with Server({"digits": digits.model_bytes("1")}) as server:
        url = f"http://127.0.0.1:{server.port}/v2/models/digits/infer"
        for number in range(rounds):
            _ask(url, body, headers)
            pid = server.get("/v1/models/digits")["versions"][0]["worker"]["pid"]
            start = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            _ask(url, body, headers)
            times.append((time.perf_counter() - start) * 1e3)
            say(f"killed worker: {number + 1} of {rounds}, {times[-1]:.1f} ms")
            time.sleep(10.5)  # a death after 10 s of life is a first one again: no back-off
    emit(
        "killed_worker_ms",
        met=median(times) <= 100,
        median=median(times),
        worst=round(max(times), 2),
        rounds=rounds,
        reach=100,
    )


def second_load(rounds: int) -> None:
    """Session creation with a cold and with a warm optimised-graph cache, 47 MB: the same digest loaded twice."""
    ratios, first, second = [], [], []
    for number in range(rounds):
        with Server({"large": large_cnn(number)}) as server:
            cold = _load_seconds(server, server.get("/v1/models/large/rollout")["id"])
            server.finished(server.push("large", 2, large_cnn(100 + number)))
            again = server.push("large", 3, large_cnn(100 + number))
            server.finished(again)
            cold = _load_seconds(server, server.get("/v1/models/large/rollouts")["rollouts"][1]["id"])
            warm = _load_seconds(server, again)
        first.append(cold)
        second.append(warm)
        ratios.append(warm / cold)
        say(f"second load: {number + 1} of {rounds}, {cold:.3f} s then {warm:.3f} s")
    emit(
        "second_load",
        met=median(ratios) < 1,
        first_s=median(first),
        second_s=median(second),
        ratio=median(ratios),
        reach="< 1",
    )


def _load_seconds(server: Server, rollout: str) -> float:
    """Seconds in which the worker made its session."""
    steps = server.certificate(rollout)["steps"]
    return float(next(s for s in steps if s["name"] == "validating")["numbers"]["load_s"])


def _ask(url: str, body: bytes, headers: dict[str, str]) -> None:
    request = urllib.request.Request(url, body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
        answer.read()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    killed_worker(count)
    second_load(count)
    sys.exit(verdict())
