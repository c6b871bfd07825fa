"""The proof of the HTTP/1.1 door: `python benchmarks/door_proof.py [--only CHECK] [--no-control]`.

Each check starts a fresh echo server behind the door, does its worst, and prints one JSON line: what was
sent, what was lost, and the largest memory the server ever had. The same scenarios against stock uvicorn
are printed beside it with `"control": true`. Exit code 0 means: nothing lost, never over 200 MB.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import door_checks as checks
from door_served import ENVIRONMENT, Server, served
from proof import Check, Figures, parser, prove

_HERE = Path(__file__).parent


def _wrk(server: Server, path: str, seconds: int, *options: str) -> Figures:
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", *options, f"http://127.0.0.1:{server.port}{path}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    lost = sum(map(int, errors.groups())) if errors else 0
    done = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return {
        "requests": int(done[1]) if done else 0,
        "lost": lost + (int(wrong[1]) if wrong else 0),
        "per_second": round(float(rate[1])) if rate else 0,
    }


def _pinned(server: Server) -> None:
    """One core for the server; the load generator keeps to the other."""
    os.sched_setaffinity(server.processes[0].pid, {min(os.sched_getaffinity(0))})


def wrk_kept(kind: str) -> Figures:
    """32 kept connections, 200-byte bodies, the server on one core; uvicorn between, second by second."""
    with served(kind) as server, served("uvicorn") as control, tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text('wrk.method="POST"; wrk.body=string.rep("x", 200)\n')
        _pinned(server)
        _pinned(control)
        pairs = [[_wrk(one, "/echo", 1, "-s", str(script)) for one in (server, control)] for _ in range(7)]
        rates = [(ours["per_second"], theirs["per_second"]) for ours, theirs in pairs]
        return {
            "requests": sum(ours["requests"] for ours, _ in pairs),
            "lost": sum(ours["lost"] for ours, _ in pairs),
            "per_second_median": statistics.median(ours for ours, _ in rates),
            "per_second_range": [min(rates)[0], max(rates)[0]],
            "uvicorn_per_second_median": statistics.median(theirs for _, theirs in rates),
            "ratio_median": round(statistics.median(ours / theirs for ours, theirs in rates), 2),
            "rss_max_mb": server.rss_max_mb(),
        }


def wrk_fresh(kind: str) -> Figures:
    """One connection per request."""
    with served(kind) as server:
        _pinned(server)
        figures = _wrk(server, "/ok", 2, "-H", "Connection: close")
        return {**figures, "rss_max_mb": server.rss_max_mb()}


def curl(kind: str) -> Figures:
    """Kept and fresh connections, HEAD, HTTP/1.0, an upgrade offer, chunked, 64 MiB with 100-continue."""
    with served(kind) as server, tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large"
        large.write_bytes(os.urandom(1 << 20) * 64)
        url = f"http://127.0.0.1:{server.port}"
        echo = ["--data-binary", f"@{large}", "-o", f"{folder}/back", f"{url}/echo"]
        runs = [
            ["-o", "/dev/null", f"{url}/ok?[1-200]"],
            ["-o", "/dev/null", "-H", "Connection: close", f"{url}/ok?[1-50]"],
            ["-o", "/dev/null", "--head", f"{url}/ok?[1-50]"],
            ["-o", "/dev/null", "--http1.0", f"{url}/ok?[1-50]"],
            ["-o", "/dev/null", "--http2", f"{url}/ok?[1-50]"],
            ["-H", "Transfer-Encoding: chunked", *echo],
            ["-H", "Expect: 100-continue", *echo],
        ]
        sent = lost = 0
        for run in runs:
            command = ["curl", "-sS", "-m", "20", "-w", "%{stderr}%{http_code}\n", *run]
            codes = subprocess.run(command, capture_output=True, text=True, check=False).stderr.split()
            expected = 1 if run[-1].endswith("/echo") else int(run[-1].partition("-")[2].rstrip("]"))
            sent += expected
            lost += expected - codes.count("200")
            if expected == 1:
                lost += Path(f"{folder}/back").read_bytes() != large.read_bytes()
        return {"requests": sent, "lost": lost, "rss_max_mb": server.rss_max_mb()}


def tritonclient(kind: str) -> Figures:
    """Its sync client, its pool and its asyncio client, small and 600 KB tensors."""
    with served(kind) as server:
        command = [sys.executable, str(_HERE / "door_triton.py"), str(server.port), "1000"]
        line = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout
        figures = json.loads(line)
        return {"requests": figures["sent"], "lost": figures["lost"], "rss_max_mb": server.rss_max_mb()}


def _load(port: int, seconds: float, rate: int, kept: int, fresh: int) -> subprocess.Popen[str]:
    figures = [str(port), str(seconds), str(rate), str(kept), str(fresh)]
    command = [sys.executable, str(_HERE / "door_load.py"), *figures]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _figures(load: subprocess.Popen[str]) -> Figures:
    text, _ = load.communicate(timeout=60)
    figures: Figures = json.loads(text)
    figures["requests"] = figures.pop("sent")
    return figures


def sigterm_alone(kind: str) -> Figures:
    """SIGTERM to the only process under open-loop load of 64 kept and 16 fresh clients, three times."""
    total: Figures = {"requests": 0, "answered": 0, "lost": 0, "refused": 0, "rss_max_mb": 0.0, "exit_seconds": []}
    for _ in range(3):
        with served(kind) as server:
            server.forget_socket()
            load = _load(server.port, 5.0, 1500, 64, 16)
            time.sleep(1.5)
            total["rss_max_mb"] = max(total["rss_max_mb"], server.rss_max_mb())
            server.terminate()
            began = time.monotonic()
            server.processes[0].wait(20)
            total["exit_seconds"].append(round(time.monotonic() - began, 2))
            figures = _figures(load)
            for name in ("requests", "answered", "lost", "refused"):
                total[name] += figures[name]
    return total


def sigterm_shared(kind: str) -> Figures:
    """SIGTERM to one of two processes on one socket under the same load: nobody is even refused."""
    with served(kind, 2) as server:
        load = _load(server.port, 5.0, 1500, 64, 16)
        time.sleep(1.5)
        rss = server.rss_max_mb()
        server.terminate()
        figures = _figures(load)
        figures["lost"] += figures["refused"]
        return {**figures, "rss_max_mb": rss}


def split(kind: str) -> Figures:
    """How evenly two processes share 64 connections that come at once: the worst of five times."""
    worst: Figures = {}
    with served(kind, 2) as server:
        for _ in range(5):
            figures = checks.split(server)
            if not worst or max(figures["shares"]) > max(worst["shares"]):
                worst = figures
            time.sleep(0.1)
        return {**worst, "requests": 320, "rss_max_mb": server.rss_max_mb()}


def _raw(check: Callable[[Server], Figures], *options: str) -> Callable[[str], Figures]:
    def run(kind: str) -> Figures:
        with served(kind, 1, *(options if kind == "door" else ())) as server:
            figures = check(server)
            return {**figures, "rss_max_mb": server.rss_max_mb()}

    run.__doc__ = check.__doc__
    return run


CHECKS = {
    "wrk kept": Check(wrk_kept, False),
    "wrk fresh": Check(wrk_fresh, True),
    "curl": Check(curl, False),
    "tritonclient": Check(tritonclient, False),
    "sigterm": Check(sigterm_alone, True),
    "sigterm shared": Check(sigterm_shared, True),
    "split": Check(split, True),
    "slow reader": Check(_raw(checks.slow_reader), True),
    "unread body": Check(_raw(checks.unread_body), True),
    "64 MiB bodies": Check(_raw(checks.large_bodies), True),
    "pipelining": Check(_raw(checks.pipelining), False),
    "1,000,000 chunks": Check(_raw(checks.tiny_chunks), True),
    "smuggling": Check(_raw(checks.smuggling), True),
    "slowloris": Check(_raw(checks.slowloris, "--header-seconds", "3"), True),
    "half closed": Check(_raw(checks.half_closed), True),
    "client gone": Check(_raw(checks.client_gone), False),
}


if __name__ == "__main__":
    sys.exit(prove(CHECKS, "uvicorn", parser(__doc__).parse_args()))
