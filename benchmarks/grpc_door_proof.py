"""The proof of the HTTP/2 door: `python benchmarks/grpc_door_proof.py [--only CHECK] [--calls N] [--no-control]`.

Each check starts a fresh echo server behind the door, does its worst with grpcio, tritonclient or raw frames, and
prints one JSON line: what was called, what was lost, and the largest memory the server ever had. Where it tells
something the same is done to stock `grpc.aio`, with `"control": true`. Exit code 0: nothing lost, never over 200 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc_door_hostile as hostile
from door_served import ENVIRONMENT
from grpc_door_served import GrpcServer, counts, served
from proof import Check, Figures, parser, prove

_HERE = Path(__file__).parent
Called = Callable[..., Figures]


def _client(check: str, server: GrpcServer, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(_HERE / "grpc_door_client.py"), check, str(server.port), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)


def _figures(client: subprocess.Popen[str]) -> Figures:
    text, _ = client.communicate(timeout=900)
    figures: Figures = json.loads(text.strip().rpartition("\n")[2])
    return figures


def _run(check: str, kind: str, number: int) -> Figures:
    with served(kind) as server:
        figures = _figures(_client(check, server, number))
        if kind == "door":
            told = counts(server)
            figures |= {"connections": told["accepted"] - 2, "in_flight_after": told["in_flight"] - 1}
            figures["lost"] += figures["in_flight_after"]
        return {**figures, "rss_max_mb": server.rss_max_mb()}


def calls(kind: str, number: int) -> Figures:
    """A million calls over one channel."""
    return _run("calls", kind, number)


def given_up(kind: str, number: int) -> Figures:
    """10,000 missed deadlines and 10,000 cancelled calls on one channel; those beside them are answered."""
    return _run("given_up", kind, min(10_000, number))


def crowd(kind: str, number: int) -> Figures:
    """1,000 calls at once over one channel, keepalive pings every 50 ms."""
    del number
    return _run("crowd", kind, 1000)


def large(kind: str, number: int) -> Figures:
    """64 MiB both ways, two clients."""
    del number
    return _run("large", kind, 2)


def talks(kind: str, number: int) -> Figures:
    """50,000 messages in calls of many, a gigabyte and a half each way."""
    return _run("talks", kind, min(50_000, number))


def triton(kind: str, number: int) -> Figures:
    """The client of Triton with tensors of 600 KB."""
    del number
    return _run("triton", kind, 300)


def sigterm(kind: str, number: int) -> Figures:
    """SIGTERM under an open loop of 1,000 calls/s over eight channels, three times."""
    del number
    total: Figures = {"requests": 0, "lost": 0, "refused": 0, "rss_max_mb": 0.0, "exit_seconds": [], "why": []}
    for _ in range(3):
        with served(kind) as server:
            server.forget_socket()
            client = _client("open_loop", server, 1000)
            _ready(client)
            time.sleep(1.5)
            total["rss_max_mb"] = max(total["rss_max_mb"], server.rss_max_mb())
            began = time.monotonic()
            server.terminate()
            server.process.wait(20)
            total["exit_seconds"].append(round(time.monotonic() - began, 2))
            figures = _figures(client)
            for name in ("requests", "lost", "refused"):
                total[name] += figures[name]
            total["why"] = sorted({*total["why"], *figures["why"]})[:3]
    return total


def sigterm_shared(kind: str, number: int) -> Figures:
    """SIGTERM to one of two processes on one socket under the same load: nobody is even refused."""
    del number
    with served(kind, "--shared") as server:
        other = server.beside()
        try:
            time.sleep(1.0)
            client = _client("open_loop", server, 1000)
            _ready(client)
            time.sleep(1.5)
            rss = server.rss_max_mb()
            server.terminate()
            figures = _figures(client)
        finally:
            other.kill()
            other.wait()
        figures["lost"] += figures["refused"]
        return {**figures, "rss_max_mb": rss}


def _ready(client: subprocess.Popen[str]) -> None:
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"


def _raw(check: Callable[[GrpcServer], Figures]) -> Called:
    def run(kind: str, number: int) -> Figures:
        del number
        with served(kind) as server:
            figures = check(server)
            return {**figures, "rss_max_mb": server.rss_max_mb()}

    run.__doc__ = check.__doc__
    return run


CHECKS: dict[str, tuple[Called, bool]] = {
    "calls": (calls, False),
    "given up": (given_up, True),
    "crowd": (crowd, True),
    "64 MiB": (large, True),
    "talks": (talks, False),
    "tritonclient": (triton, False),
    "sigterm": (sigterm, True),
    "sigterm shared": (sigterm_shared, False),
    **{name: (_raw(check), name in ("slow reader", "closed windows")) for name, check in hostile.CHECKS.items()},
}
"""Name: the check, which takes the server's kind and a number of calls, and whether the control runs it too."""


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--calls", type=int, default=1_000_000)
    given = options.parse_args()
    checks = {name: Check(partial(check, number=given.calls), beside) for name, (check, beside) in CHECKS.items()}
    return prove(checks, "aio", given)


if __name__ == "__main__":
    sys.exit(main())
