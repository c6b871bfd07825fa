"""Alerts of a real server: they fire in time, reach a webhook once, and outlive a controller."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from changeover.testing import Server, exchange, wait_for
from tests import onnx_models
from tests.controller.alarms.receiver import Receiver
from tests.controller.events.listening import Listener

BODY = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}'


@contextmanager
def asked(server: Server) -> Iterator[None]:
    """Requests one after the other until the block ends, whatever becomes of them."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.005):
            exchange(server.http_port, "POST", "/v2/models/m/infer", BODY)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def is_about(alert: str, state: str) -> Any:
    """Whether an event is this alert's."""
    return lambda event: event["type"] == "alert" and (event["alert"], event["state"]) == (alert, state)


def test_failures_reach_the_webhook_once_although_the_controller_is_killed(tmp_path: Path) -> None:
    """Its receiver errs, refuses and hangs at first; the controller dies while it fires; it ends with the version.

    Both changes are in the events, each once, with the numbers that the receiver has got.
    """
    armed, faults = tmp_path / "armed", tmp_path / "faults.json"
    faults.write_text(json.dumps({"models": {"m": {"1": {"kind": "error", "rate": 0.2, "when": str(armed)}}}}))
    with (
        Receiver("500", "refuse", "hang") as receiver,
        Server(tmp_path / "server", faults=str(faults), alert_webhook=receiver.url, alert_latency=0) as server,
    ):
        server.plan("m", "rollout: {strategy: instant, undo_window: 0s}")
        server.deploy("m", onnx_models.scale(2).SerializeToString())
        with asked(server):
            with Listener(server, "?types=alert&model=m") as listener:
                armed.touch()
                began = time.time()
                firing = listener.until(is_about("errors", "firing"))[-1]
                assert firing["at"] - began < 60
                assert (firing["version"], firing["severity"]) == ("1", "critical")
            wait_for(lambda: receiver.tried >= 3, "a receiver that hangs")
            assert receiver.got == []
            server.named("controller").kill()
            server.wait_ready()
            wait_for(lambda: len(receiver.got) == 1, "the alert at the receiver")
            assert [a["alert"] for a in server.control("GET", "/v1/alerts")["alerts"]] == ["errors"]
            with Listener(server, "?types=alert&model=m") as listener:
                server.deploy("m", onnx_models.scale(3).SerializeToString())
                listener.until(is_about("errors", "resolved"))
        wait_for(lambda: len(receiver.got) == 2, "its end at the receiver")
        with Listener(server, "?types=alert&model=m&after=0") as listener:
            told = [event for event in listener.until(is_about("errors", "resolved")) if event["alert"] == "errors"]
        assert [event["id"] for event in told] == [got["id"] for got in receiver.got]
        assert [event["state"] for event in told] == ["firing", "resolved"]
        assert server.control("GET", "/v1/alerts") == {"alerts": []}


def test_lines_of_json_tell_whose_request_failed(tmp_path: Path) -> None:
    """Model, version, the request's id and its trace; every line of every process is an object."""
    faults = tmp_path / "faults.json"
    armed = tmp_path / "armed"
    faults.write_text(json.dumps({"models": {"m": {"1": {"kind": "error", "when": str(armed)}}}}))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with Server(tmp_path / "server", faults=str(faults), log_format="json") as server:
        rollout = server.deploy("m", onnx_models.scale(2).SerializeToString())["id"]
        armed.touch()
        body = BODY[:-1] + b', "id": "q-7"}'
        answer = exchange(server.http_port, "POST", "/v2/models/m/infer", body, {"traceparent": trace})
        assert (answer.status, answer.headers["traceparent"]) == (500, trace)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert {"gateway", "controller", "supervisor"} >= {line["process"] for line in lines} >= {"gateway", "controller"}
    (failed,) = [line for line in lines if line["logger"] == "changeover.requests"]
    known = {name: failed.get(name) for name in ("model", "version", "request_id", "traceparent", "level")}
    assert known == {"model": "m", "version": "1", "request_id": "q-7", "traceparent": trace, "level": "warning"}
    assert any(line.get("rollout") == rollout and line.get("model") == "m" for line in lines)
