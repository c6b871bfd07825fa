"""What more gateways bring on the cores there are: the door alone, and a small model behind it, with 1 to 4 of them.

    python benchmarks/gateways.py [ROUNDS]

All servers run from the start and are loaded one after the other, a round at a time, so that ratios are of one time;
printed are the medians over rounds. Three rounds take about two minutes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from changeover.demo import digits
from models import mnist
from rig import Server, Wrk, binary_body, emit, median, say, verdict

SECONDS = 3
CONNECTIONS = 32
COUNTS = (1, 2, 3, 4)
_PATIENCE = 30.0


def main(rounds: int) -> None:
    """All rounds of door and model."""
    data = mnist()
    name, model, tensor = ("digits", digits.model_bytes("1"), "image") if data is None else ("mnist", data, "Input3")
    body, headers = binary_body(tensor, np.random.default_rng(7).random((1, 1, 28, 28), np.float32))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        wrk = Wrk(folder, "binary", body, headers)
        urls: dict[str, list[str]] = {"door_echo": [], f"{name}_binary": []}
        for count in COUNTS:
            say(f"gateways: starting {count}")
            port = stack.enter_context(doors(count))
            server = stack.enter_context(Server({name: model}, arguments=("--gateways", str(count))))
            urls["door_echo"].append(f"http://127.0.0.1:{port}/echo")
            urls[f"{name}_binary"].append(f"http://127.0.0.1:{server.port}/v2/models/{name}/infer")
        measure(wrk, urls, rounds)


def measure(wrk: Wrk, urls: dict[str, list[str]], rounds: int) -> None:
    """Load each of them for some seconds a round, and print a curve for each row of URLs."""
    rates: dict[str, list[list[float]]] = {what: [[] for _ in row] for what, row in urls.items()}
    for number in range(rounds):
        say(f"gateways: round {number + 1} of {rounds}")
        for what, row in urls.items():
            for rate, url in zip(rates[what], row, strict=True):
                rate.append(wrk.run(url, connections=CONNECTIONS, seconds=SECONDS)["per_second"])
    for what, curve in rates.items():
        emit(
            "gateways",
            met=True,  # reported: what a second gateway brings depends on the cores
            what=what,
            cores=len(os.sched_getaffinity(0)),
            connections=CONNECTIONS,
            per_second={count: round(median(rate)) for count, rate in zip(COUNTS, curve, strict=True)},
            two_by_one=median([two / one for one, two in zip(curve[0], curve[1], strict=True)]),
        )


@contextmanager
def doors(count: int) -> Iterator[int]:
    """So many processes with the door's echo on one socket; gives its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        script = str(Path(__file__).parent / "door_echo.py")
        command = [sys.executable, script, str(sock.fileno()), "door", *(["--shared"] if count > 1 else [])]
        processes = [subprocess.Popen(command, pass_fds=[sock.fileno()]) for _ in range(count)]
        try:
            _wait_for_all(sock.getsockname()[1], count)
            yield sock.getsockname()[1]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _wait_for_all(port: int, count: int) -> None:
    """Connect until each process has answered once."""
    seen: set[bytes] = set()
    until = time.monotonic() + _PATIENCE
    while len(seen) < count:
        if time.monotonic() > until:
            raise RuntimeError(f"{len(seen)} of {count} doors answer")
        with socket.create_connection(("127.0.0.1", port), _PATIENCE) as client:
            client.sendall(b"GET /pid HTTP/1.1\r\nhost: t\r\n\r\n")
            seen.add(client.recv(4096).rpartition(b"\r\n\r\n")[2])
        time.sleep(0.01)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    sys.exit(verdict())
