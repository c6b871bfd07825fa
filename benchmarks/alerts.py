"""How soon does an alert fire, and how soon does a listener hear of what happens?

    python benchmarks/alerts.py [EVENTS]

A real server under open-loop load, with a listener of `/v1/events` and a webhook. For each of the three thresholds
(latency against the other version and against the version's own past, share of errors, memory) something is made to go
wrong at a known moment; counted are the seconds from there to the alert at the listener and at the webhook. Memory is
really taken: its threshold is set a little above what the machine uses, for none may be at 80 %. Then the delivery of
EVENTS (default 200) events: from the journal's time of each to its arrival.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from changeover.bench.process import BenchProcess
from changeover.bench.spec import LoadSpec
from changeover.runtime import machine
from rig import INSTANT, Server, emit, median, say, verdict

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests import onnx_models

MODEL = "alerts"
RATE = 150.0
MOST_S = 5.0
MOST_DELIVERY_S = 0.3
_WITHIN = 60.0
_PAST = 75.0
"""Seconds after which it is known what is normal."""
_LIMITS = "{latency_increase: 1000, error_rate: 100%, disagreement: 100%}"
CANARY = f"rollout: {{strategy: canary, steps: [{{weight: 50%, hold: 1h}}], limits: {_LIMITS}}}\n"
"""The judge takes nothing back meanwhile."""


class Heard:
    """All events that a listener, or a webhook, has got, with the time of each."""

    def __init__(self) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._more = threading.Condition()

    def add(self, event: dict[str, Any]) -> None:
        with self._more:
            self.events.append((time.time(), event))
            self._more.notify_all()

    def first(self, wanted: Callable[[dict[str, Any]], bool], since: float) -> tuple[float, dict[str, Any]]:
        """The first that is wanted after a moment."""
        until = time.monotonic() + _WITHIN
        with self._more:
            while True:
                for at, event in self.events:
                    if at >= since and wanted(event):
                        return at, event
                assert self._more.wait(until - time.monotonic()), "the event did not come"


def listen(port: int, heard: Heard) -> threading.Thread:
    """Read the server's events until it ends."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/v1/events?types=alert,operator,rollout,version")
    answer = connection.getresponse()

    def read() -> None:
        try:
            while line := answer.readline():
                if line.startswith(b"data: "):
                    heard.add(json.loads(line[6:]))
        except OSError:
            pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


@contextmanager
def webhook(heard: Heard) -> Iterator[str]:
    """A receiver; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.add(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def told(name: str, limit: str, began: float, heard: Heard, hooked: Heard) -> None:
    """One figure."""

    def is_it(event: dict[str, Any]) -> bool:
        return event["type"] == "alert" and event["alert"] == name and event["state"] == "firing"

    at, event = heard.first(is_it, began)
    hook, _ = hooked.first(is_it, began)
    taken, by_hook = at - began, hook - began
    say(event["detail"])
    values = {"seconds": round(taken, 2), "webhook_seconds": round(by_hook, 2), "most": MOST_S, "limit": limit}
    emit(f"alert_{name}", met=taken <= MOST_S, **values)


def load(port: int) -> BenchProcess:
    """Rows of four numbers, at a rate."""
    spec = LoadSpec(MODEL, {"x": np.ones((8, 4), np.float32)}, port=port, rate=RATE, connections=16, duration_s=600.0)
    return BenchProcess(spec)


def main(events: int) -> None:
    """A server, and each thing that goes wrong in turn."""
    with tempfile.TemporaryDirectory() as text:
        folder, heard, hooked = Path(text), Heard(), Heard()
        slow_1, slow_2, errs_1 = (folder / name for name in ("slow_1", "slow_2", "errs_1"))
        faults = folder / "faults.json"
        slow = {"kind": "slow", "factor": 2, "seconds": 0.004}
        first = [{**slow, "when": str(slow_1)}, {"kind": "error", "rate": 0.05, "when": str(errs_1)}]
        faults.write_text(json.dumps({"models": {MODEL: {"1": first, "2": {**slow, "when": str(slow_2)}}}}))
        used = 1 - machine.memory().free / machine.memory().total
        share = round(used + 0.03, 3)
        settings = folder / "changeover.yaml"
        with webhook(hooked) as address:
            settings.write_text(f"alert_memory: {share}\nalert_webhook: {address}\n")
            arguments = ["--config", str(settings), "--faults", str(faults)]
            data = onnx_models.scale(2).SerializeToString()
            with Server({MODEL: data}, {MODEL: INSTANT}, arguments) as server, load(server.port) as traffic:
                listen(server.control, heard)
                say(f"{_PAST:.0f} s until it is known what is normal")
                time.sleep(_PAST)
                slow_1.touch()
                told("latency_over_past", "+50 %", time.time(), heard, hooked)
                slow_1.unlink()
                errs_1.touch()
                told("errors", "0.1 %", time.time(), heard, hooked)
                errs_1.unlink()
                server.push(MODEL, 2, onnx_models.scale(3).SerializeToString(), CANARY)
                heard.first(lambda e: e["type"] == "rollout" and e["phase"] == "progressing", 0.0)
                time.sleep(12)
                slow_2.touch()
                told("latency_over_other", "+50 %", time.time(), heard, hooked)
                slow_2.unlink()
                taken, began = fill(share)
                told("memory", f"{share:.1%} ({used:.1%} in use)", began, heard, hooked)
                del taken
                delivered(server, heard, events)
                traffic.close()


def fill(share: float) -> tuple[list[Any], float]:
    """Take memory until a share of it, and some more, is in use; with the moment at which it was crossed."""
    taken, began, more = [], 0.0, 0
    while more < 40:
        taken.append(np.ones(16 << 20, np.uint8))
        told = machine.memory()
        over = 1 - told.free / told.total > share
        began = began or (time.time() if over else 0.0)
        more += over
    return taken, began


def delivered(server: Server, heard: Heard, events: int) -> None:
    """What somebody asks for is an event: how long after its time it is heard."""
    known = len(heard.events)
    for _ in range(events):
        try:
            server.post(f"/v1/models/{MODEL}/rollout/undo")
        except OSError:
            pass  # refused, which is an event too
        time.sleep(0.02)
    until = time.monotonic() + _WITHIN
    while sum(e["type"] == "operator" for _, e in heard.events[known:]) < events and time.monotonic() < until:
        time.sleep(0.05)
    delays = sorted(at - event["at"] for at, event in heard.events[known:] if event["type"] == "operator")
    assert len(delays) >= events
    worst = round(delays[-1], 4)
    values = {"events": len(delays), "median_s": median(delays), "worst_s": worst, "most_s": MOST_DELIVERY_S}
    emit("event_delivery", met=values["median_s"] <= MOST_DELIVERY_S, **values)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    sys.exit(verdict())
