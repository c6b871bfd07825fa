"""More than a model can do: what can be answered is answered, the rest is told so at once, and nobody else suffers."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from changeover.bench.process import BenchProcess
from changeover.bench.records import Records
from changeover.bench.spec import LoadSpec
from changeover.testing import Server, exchange, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic

SECONDS = 2.5
TIMES = 5
X = np.arange(8, dtype=np.float32).reshape(2, 4)
QUESTION = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


def slow_model(server: Server, plan: str = "runtime: {max_batch: 1}") -> None:
    """Some milliseconds a request, one at a time: its worker is the limit, not the gateway."""
    server.plan("slow", plan)
    server.deploy("slow", onnx_models.slow(6, factor=2.0).SerializeToString())


def load(server: Server, **changes: object) -> LoadSpec:
    """Requests for it, each answer checked."""
    spec = LoadSpec("slow", {"x": X}, {"1": X * 2}, port=server.http_port, connections=2000, duration_s=SECONDS)
    return replace(spec, **changes)  # type: ignore[arg-type]


def capacity(server: Server) -> float:
    """Requests a second of a closed loop."""
    with BenchProcess(load(server, mode="closed", connections=8, duration_s=1.0)) as bench:
        result = bench.result(30)
    assert result["clean"]
    return float(result["throughput"])


def shed_answer(server: Server) -> bool:
    """Whether somebody with little time is shed; if so, that answer is whole."""
    body, fields = json.dumps(QUESTION).encode(), {"changeover-timeout": "100ms"}
    reply = exchange(server.http_port, "POST", "/v2/models/slow/infer", body, fields)
    if reply.status != 503:
        return False
    assert reply.json()["reason"] == "queue_delay"
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    return True


def seconds_taken(records: Records) -> np.ndarray:
    """Of the requests that were answered with 200."""
    taken = records.column("received") - records.column("due")
    return np.asarray(taken[records.column("status") == 200])


def test_five_times_the_capacity(serve: Serve) -> None:
    """Each request is answered: right and in time, or with 503, a reason and `Retry-After`; health goes on."""
    server = serve()
    slow_model(server)
    found = capacity(server)
    patience = (("changeover-timeout", "5s"),)
    with BenchProcess(load(server, rate=TIMES * found, headers=patience, timeout_s=10.0)) as bench:
        wait_for(lambda: shed_answer(server), "an answer that was shed")
        assert exchange(server.http_port, "GET", "/v2/health/live").status == 200
        assert server.control("GET", "/v1/models")
        result, records = bench.result(60), bench.records()
    assert set(result["failures"]) == {"503 queue_delay"}
    assert len(records) >= TIMES * found * SECONDS * 0.95, "requests that were never sent"
    assert result["wrong"] == 0
    answered = seconds_taken(records)
    assert len(answered) > found * SECONDS * 0.3, "the shedding took the place of the work"
    assert answered.max() < 5.0
    wait_for(lambda: server.infer("slow", QUESTION).status == 200, "the end of the queue", 5.0)
    assert {server.infer("slow", QUESTION).status for _ in range(20)} == {200}


def test_without_a_bound_the_same_flood_is_answered_late(serve: Serve) -> None:
    """The control: the queue grows with every second, and clients give up before their turn comes."""
    server = serve(max_queue_delay=3600, queue_limit=1_000_000, drain_deadline=1)
    slow_model(server)
    found = capacity(server)
    with BenchProcess(load(server, rate=TIMES * found, timeout_s=2.0)) as bench:
        result = bench.result(60)
    assert result["failures"].get("timeout", 0) > 0.3 * result["requests"]


def test_a_model_has_limits_of_its_own(serve: Serve) -> None:
    """`runtime.queue_limit` in its plan; the others keep the server's."""
    server = serve()
    slow_model(server, "runtime: {max_batch: 1, queue_limit: 2}")
    server.deploy("double", onnx_models.scale(2).SerializeToString())
    with BenchProcess(load(server, mode="closed", connections=8, duration_s=1.0)) as bench:
        assert {server.infer("double", QUESTION).status for _ in range(10)} == {200}
        result = bench.result(30)
    assert set(result["failures"]) == {"503 queue_full"}


def test_a_flood_on_one_model_fails_nobody_else(serve: Serve) -> None:
    """Another model's requests are all answered, right, beside five times what the first one can do."""
    server = serve()
    slow_model(server)
    server.deploy("double", onnx_models.scale(2).SerializeToString())
    found = capacity(server)
    with BenchProcess(load(server, rate=TIMES * found, duration_s=30.0)) as bench:
        wait_for(lambda: shed_answer(server), "the flood")
        with Traffic(server.http_port, "double", {"1": 2.0}, rate=50) as traffic:
            traffic.wait_for_answers(50)
        bench.stop()
        bench.result(60)
    assert (traffic.report.failed, traffic.report.refused, traffic.report.wrong) == ([], 0, 0)


def test_idle_half_open_and_slow_connections_beside_traffic(serve: Serve) -> None:
    """1,000 that say nothing, 100 that ended in the middle, 100 that trickle: no request fails."""
    head = b"POST /v2/models/double/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 100000\r\n"
    server = serve()
    server.deploy("double", onnx_models.scale(2).SerializeToString())
    with ExitStack() as stack, Traffic(server.http_port, "double", {"1": 2.0}, rate=100) as traffic:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", server.http_port), 10))

        idle = [connect() for _ in range(1000)]
        for _ in range(100):
            halved = connect()
            halved.sendall(head)
            halved.shutdown(socket.SHUT_WR)
        slow = [connect() for _ in range(100)]
        for byte in head[:20]:
            for one in slow:
                one.send(bytes([byte]))
            time.sleep(0.05)  # a trickle is slow: that is what is tested
        traffic.wait_for_answers(50)
        idle[500].sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: t\r\n\r\n")
        assert idle[500].recv(100).startswith(b"HTTP/1.1 200")
    assert (traffic.report.failed, traffic.report.refused, traffic.report.wrong) == ([], 0, 0)
