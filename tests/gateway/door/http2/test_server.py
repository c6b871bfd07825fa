"""The door on its listening socket, asked by grpcio and tritonclient in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.door.http2.served import ECHO, Served
from tests.needed import needed

from grpc_door_served import served  # isort: skip

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent / "src")}


def client(check: str, port: int, number: int) -> subprocess.Popen[str]:
    """A client process; without grpcio the test is skipped."""
    needed("grpc")
    command = [sys.executable, str(BENCHMARKS / "grpc_door_client.py"), check, str(port), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def figures(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it counted."""
    text, _ = process.communicate(timeout=100)
    told: dict[str, Any] = json.loads(text.strip().rpartition("\n")[2])
    return told


@pytest.mark.parametrize(
    ("check", "number"),
    [("calls", 5000), ("given_up", 500), ("crowd", 1000), ("large", 1), ("talks", 700), ("triton", 20)],
)
def test_real_clients_lose_nothing(check: str, number: int) -> None:
    """The small size of the proof: calls, missed deadlines, cancels, 1,000 at once, 64 MiB, talks, Triton's client."""
    with served("door") as server:
        told = figures(client(check, server.port, number))
        assert told["lost"] == told["refused"] == 0, told
        assert told["requests"] > 0
        if check == "given_up":
            assert (told["missed"], told["cancelled"]) == (500, 500)


def test_a_leaving_server_answers_every_call() -> None:
    """SIGTERM under an open loop: what was sent is answered; the rest finds nobody to connect to."""
    with served("door") as server:
        server.forget_socket()
        process = client("open_loop", server.port, 200)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        server.terminate()
        assert server.process.wait(20) == 0
        told = figures(process)
    assert told["lost"] == 0, told
    assert told["requests"] == 800
    assert told["refused"] > 0


def test_the_proof_notices_a_server_that_dies() -> None:
    """The negative control: the same load loses calls when the server is killed instead."""
    with served("door") as server:
        server.forget_socket()
        process = client("open_loop", server.port, 400)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        server.process.kill()
        server.process.wait(20)
        told = figures(process)
    assert told["lost"] + told["refused"] > 0, told


def test_the_listening_socket_is_served_and_closed(door2: Served) -> None:
    """Connections are counted; after the stop nobody listens."""
    with door2.wire() as wire:
        assert wire.ask(ECHO, b"x") == b"x"
    door2.until(lambda: door2.server.connections == 0)
    assert door2.server.counts.accepted == 1
    door2.begin(door2.server.stop(1.0, duck_seconds=0.0)).result(10)
    with pytest.raises(OSError, match=r"refused|reset|the end"):
        door2.wire().ask(ECHO, b"x")
