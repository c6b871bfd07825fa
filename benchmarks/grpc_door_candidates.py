"""Which HTTP/2 server stands behind port 8001: `python benchmarks/grpc_door_candidates.py [--seconds S] [--rounds N]`.

The same echo behind the project's door, zttp, h2 and `grpc.aio`, each a fresh process on one core; the load on the
other. Per server: calls/s, p50 and the server's processor time per call, over 1 and over 8 channels of grpcio and, as
grpcio's client is slower than the servers, from `h2load`; the largest memory. Rounds alternate; medians are printed,
one JSON line per server and load. What is not installed is left out with a line that says so (`pip install zttp h2`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from grpc_door_served import GrpcServer, served

_HERE = Path(__file__).parent
_SIZE = 3200
"""Bytes of a message: a raw ModelInfer of one 28 x 28 image has about as many."""
_NEEDS = {"door": "hashlib", "aio": "grpc", "zttp": "zttp", "h2": "h2"}
_CORES = sorted(os.sched_getaffinity(0))


def by_grpcio(server: GrpcServer, seconds: float, channels: int) -> dict[str, Any]:
    arguments = map(str, (server.port, seconds, channels, 32, _SIZE))
    command = ["taskset", "-c", str(_CORES[-1]), sys.executable, str(_HERE / "grpc_door_load.py"), *arguments]
    figures: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return figures


def by_h2load(server: GrpcServer, seconds: float, channels: int) -> dict[str, Any]:
    """For a number of calls, not a time: zttp's connections die before a second is over."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + _SIZE.to_bytes(4, "big") + bytes(_SIZE))
        body.flush()
        calls = ["-n", str(int(seconds * 4000)), "-c", str(channels), "-m", str(32 // channels), "-d", body.name]
        fields = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        url = f"http://127.0.0.1:{server.port}/echo.Echo/Echo"
        command = ["taskset", "-c", str(_CORES[-1]), "timeout", "60", "h2load", *calls, *fields, url]
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    done = re.search(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed", text)
    rate = re.search(r"([\d.]+) req/s", text)
    if done is None or rate is None:
        return {"requests": 0, "lost": -1, "why": [text[-200:]]}
    total, good = int(done[1]), int(done[2])
    return {"requests": total, "lost": total - good, "per_second": round(float(rate[1]))}


LOADS = {"grpcio": by_grpcio, "h2load": by_h2load}


def one(kind: str, load: str, channels: int, seconds: float) -> dict[str, Any]:
    with served(kind) as server:
        os.sched_setaffinity(server.process.pid, {_CORES[0]})
        before = server.cpu_seconds()
        figures = LOADS[load](server, seconds, channels)
        answered = max(1, figures["requests"] - max(0, figures["lost"]))
        figures["cpu_us_per_call"] = round((server.cpu_seconds() - before) / answered * 1e6, 1)
        figures["rss_max_mb"] = server.rss_max_mb()
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    kinds = [kind for kind, module in _NEEDS.items() if importlib.util.find_spec(module)]
    for missing in sorted(set(_NEEDS) - set(kinds)):
        print(json.dumps({"server": missing, "left_out": "not installed"}))
    loads = [load for load in LOADS if load == "grpcio" or shutil.which(load)]
    for load in loads:
        for channels in (1, 8):
            rounds: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for _ in range(options.rounds):
                for kind in kinds:
                    rounds[kind].append(one(kind, load, channels, options.seconds))
            for kind, runs in rounds.items():
                line: dict[str, Any] = {"server": kind, "load": load, "channels": channels, "rounds": len(runs)}
                for name in ("requests", "lost"):
                    line[name] = sum(run[name] for run in runs)
                for name in ("per_second", "p50_ms", "p99_ms", "cpu_us_per_call", "rss_max_mb"):
                    values = [run[name] for run in runs if name in run]
                    if values:
                        line[name] = statistics.median(values)
                why = sorted({reason for run in runs for reason in run.get("why", [])})
                if why:
                    line["why"] = why[:2]
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
