"""Throughput and one-connection latency beside the limits on the same cores: raw sessions, the door alone.

    python benchmarks/throughput.py [ROUNDS]

Each round measures everything once, in turn, so that ratios are of one time; printed are the medians over rounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from changeover.demo import digits
from models import mnist
from rig import Server, Wrk, binary_body, child, emit, json_body, median, say, verdict

SECONDS = 3
CONNECTIONS = 32


def main(rounds: int) -> None:
    """All rounds of both models."""
    for name, data, tensor in _subjects():
        _measure(name, data, tensor, rounds)


def _subjects() -> list[tuple[str, bytes, str]]:
    found = [("digits", digits.model_bytes("1"), "image")]
    classic = mnist()
    if classic is None:
        say("the MNIST CNN is not at hand: only the package's own model is measured")
    else:
        found.insert(0, ("mnist", classic, "Input3"))
    return found


def _measure(name: str, data: bytes, tensor: str, rounds: int) -> None:
    image = np.random.default_rng(7).random((1, 1, 28, 28), np.float32)
    rows: list[dict[str, float]] = []
    with (
        Server({name: data}) as server,
        child("echo_server.py", "raw") as raw,
        child("echo_server.py", "json") as plain,
    ):
        wrk = Wrk(server.folder, "binary", *binary_body(tensor, image))
        wrk_json = Wrk(server.folder, "json", *json_body(tensor, image))
        path = f"/v2/models/{name}/infer"
        url = f"http://127.0.0.1:{server.port}{path}"
        model = server.folder / "repository" / name / "1" / "model.onnx"
        for number in range(rounds):
            say(f"throughput {name}: round {number + 1} of {rounds}")
            row = {"raw": _raw(model, 2)["per_second"], "run_p50": _raw(model, 1)["p50_us"]}
            row["binary"] = wrk.run(url, connections=CONNECTIONS, seconds=SECONDS)["per_second"]
            row["echo"] = wrk.run(f"http://127.0.0.1:{raw}{path}", connections=CONNECTIONS, seconds=SECONDS)[
                "per_second"
            ]
            row["json"] = wrk_json.run(url, connections=CONNECTIONS, seconds=SECONDS)["per_second"]
            decoded = wrk_json.run(f"http://127.0.0.1:{plain}{path}", connections=CONNECTIONS, seconds=SECONDS)
            row["json_echo"] = decoded["per_second"]
            row["p50"] = wrk.run(url, connections=1, seconds=SECONDS)["p50_us"]
            row["echo_p50"] = wrk.run(f"http://127.0.0.1:{raw}{path}", connections=1, seconds=SECONDS)["p50_us"]
            rows.append(row)
    _print(name, rows)


def _raw(model: Path, callers: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).parent / "raw_session.py"), str(model), str(callers), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _print(name: str, rows: list[dict[str, float]]) -> None:
    def mid(key: str) -> float:
        return median([r[key] for r in rows])

    def ratio(key: str, to: str) -> float:
        return median([r[key] / r[to] for r in rows])

    binary_met = ratio("binary", "raw") >= 0.45 and ratio("binary", "echo") >= 0.6
    emit(
        "throughput_binary",
        met=binary_met,
        model=name,
        per_second=mid("binary"),
        raw=mid("raw"),
        of_raw=ratio("binary", "raw"),
        reach_of_raw=0.45,
        echo=mid("echo"),
        of_echo=ratio("binary", "echo"),
        reach_of_echo=0.6,
    )
    emit(
        "throughput_json",
        met=ratio("json", "json_echo") >= 0.8,
        model=name,
        per_second=mid("json"),
        decoding_echo=mid("json_echo"),
        of_decoding_echo=ratio("json", "json_echo"),
        reach=0.8,
    )
    overhead = median([r["p50"] - r["echo_p50"] - r["run_p50"] for r in rows])
    emit(
        "one_connection_p50_us",
        met=overhead <= 150,
        model=name,
        p50=mid("p50"),
        echo=mid("echo_p50"),
        run=mid("run_p50"),
        over_echo_and_run=overhead,
        reach=150,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    sys.exit(verdict())
