"""Raw `ModelInfer` over gRPC on one core, beside a bare `grpc.aio` echo of the same message and Triton's gRPC port.

    python benchmarks/grpc_throughput.py [ROUNDS] [ENVIRONMENTS]

The MNIST CNN behind each server, all of a server's processes on one core, `h2load` on the other: calls of one channel,
8 and 32 at once. Rounds alternate; printed are medians, and ratios within a round. Triton's environment is made by
`make bench-peers`; ENVIRONMENTS is where it is (`.venv-peers`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc

from changeover.protocol.oip_grpc_messages import encode
from grpc_door_served import served
from peers.environment import Unavailable
from peers.model import Model, small
from peers.ours import Changeover
from peers.peer import Peer
from peers.triton import Triton
from rig import emit, median, say, verdict

CALLS = 30_000
INFER = "/inference.GRPCInferenceService/ModelInfer"
OURS, ECHO, TRITON = "changeover", "grpc.aio echo", "triton"


def main(rounds: int, environments: Path) -> None:
    """All servers up, one under load at a time."""
    cores = sorted(os.sched_getaffinity(0))
    model = small()
    message = _message(model)
    with ExitStack() as stack:
        ports = {OURS: _started(Changeover(), model, cores[0], environments, stack)}
        try:
            ports[TRITON] = _started(Triton(), model, cores[0], environments, stack)
        except (Unavailable, OSError, RuntimeError, ValueError) as reason:
            say(f"Triton is left out: {reason}")
        echo = stack.enter_context(served("aio"))
        os.sched_setaffinity(echo.process.pid, {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        loads: dict[str, Callable[[int], float]] = {
            name: lambda at_once, port=port: _load(port, INFER, message, at_once) for name, port in ports.items()
        }
        loads[ECHO] = lambda at_once: _load(echo.port, "/echo.Echo/Echo", message, at_once)
        for at_once in (8, 32):
            _measure(model.name, loads, at_once, rounds)


def _started(peer: Peer, model: Model, core: int, environments: Path, stack: ExitStack) -> int:
    peer.install(environments)
    stack.callback(peer.stop)
    peer.start(model, str(core))
    peer.check("binary")
    return peer.grpc_port


def _message(model: Model) -> bytes:
    """A request for one image, raw."""
    image = model.inputs[:1]
    tensor = {"name": model.input, "datatype": "FP32", "shape": list(image.shape)}
    values = {"model_name": model.name, "inputs": [tensor], "raw_input_contents": [image.tobytes()]}
    return encode("inference.ModelInferRequest", values)


def _load(port: int, path: str, message: bytes, at_once: int) -> float:
    """Calls per second of a closed loop.

    Raises:
        RuntimeError: not every answer was as long as the one that was asked for before; an error has no message.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary(path)(message, timeout=10.0)
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + len(message).to_bytes(4, "big") + message)
        body.flush()
        fields = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", body.name]
        command = ["h2load", "-n", str(CALLS), "-c", "1", "-m", str(at_once), *fields, f"http://127.0.0.1:{port}{path}"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    rate, data = re.search(r"([\d.]+) req/s", text), re.search(r"\((\d+)\) data", text)
    if rate is None or data is None or int(data[1]) != CALLS * (5 + len(answer)):
        raise RuntimeError(f"{path}: {text[-400:]}")
    return float(rate[1])


def _measure(model: str, loads: dict[str, Callable[[int], float]], at_once: int, rounds: int) -> None:
    rows: list[dict[str, float]] = []
    for number in range(rounds):
        say(f"grpc throughput, {at_once} calls at once: round {number + 1} of {rounds}")
        rows.append({name: load(at_once) for name, load in loads.items()})
    for other, reach in ((ECHO, 2.0), (TRITON, 1.5)):
        if other in loads:
            ratio = median([row[OURS] / row[other] for row in rows])
            emit(
                f"grpc_throughput_of_{other.replace(' ', '_')}",
                met=ratio >= reach,
                model=model,
                at_once=at_once,
                per_second=median([row[OURS] for row in rows]),
                theirs=median([row[other] for row in rows]),
                ratio=ratio,
                reach=reach,
            )


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["3"])[0]), Path((sys.argv[2:] or [".venv-peers"])[0]))
    sys.exit(verdict())
