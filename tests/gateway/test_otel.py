"""Spans at a collector: a stub of one that speaks OTLP over HTTP, and a real server that sends to it."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from changeover.gateway.otel import OtelTracer
from changeover.protocol.trace_context import parsed
from changeover.testing import exchange, wait_for
from tests import onnx_models
from tests.conftest import Serve

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED, NOT_SAMPLED = (f"00-{TRACE}-00f067aa0ba902b7-{flag}" for flag in ("01", "00"))
BODY = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}'


class Collector(ThreadingHTTPServer):
    """Keeps the spans that it is sent; `url` is where to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Any] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"

    def named(self, name: str) -> list[Any]:
        """Those with this name."""
        return [span for span in list(self.spans) if span.name == name]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        told = ExportTraceServiceRequest.FromString(body)
        assert self.path == "/v1/traces"
        self.server.spans += [s for r in told.resource_spans for scope in r.scope_spans for s in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that listens."""
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_spans_arrive_with_their_times_and_parents(collector: Collector) -> None:
    """A caller that samples is followed, and one that does not; `close` sends what is left."""
    tracer = OtelTracer(collector.url, 0.0)
    assert tracer.begin("infer m", time.monotonic(), None) is None
    assert tracer.begin("infer m", time.monotonic(), parsed(NOT_SAMPLED.encode())) is None
    now, wall = time.monotonic(), time.time()
    span = tracer.begin("infer m", now - 1.0, parsed(SAMPLED.encode()))
    assert span is not None
    assert (span.context.trace, span.context.sampled) == (TRACE, True)
    span.child("run", now - 0.75, now - 0.25, {"rows": 3})
    span.end(now, {"changeover.version": "4"}, "it broke")
    tracer.close()
    (root,), (run,) = collector.named("infer m"), collector.named("run")
    assert root.trace_id == run.trace_id == bytes.fromhex(TRACE)
    assert (root.parent_span_id, run.parent_span_id) == (bytes.fromhex("00f067aa0ba902b7"), root.span_id)
    assert root.end_time_unix_nano - root.start_time_unix_nano == pytest.approx(1e9, abs=1e6)
    assert run.end_time_unix_nano - run.start_time_unix_nano == pytest.approx(5e8, abs=1e6)
    assert root.end_time_unix_nano / 1e9 == pytest.approx(wall, abs=5)
    assert {a.key: a.value.string_value for a in root.attributes} == {"changeover.version": "4"}
    assert (root.status.message, root.status.code) == ("it broke", 2)


def test_a_collector_that_is_away_holds_nobody_up() -> None:
    """Spans are dropped; the end is bounded."""
    tracer = OtelTracer("http://127.0.0.1:9/v1/traces", 1.0)
    span = tracer.begin("infer m", time.monotonic(), None)
    assert span is not None
    span.end(time.monotonic(), {}, None)
    begun = time.monotonic()
    tracer.close()
    assert time.monotonic() - begun < 20


def test_a_server_sends_its_requests(collector: Collector, serve: Serve) -> None:
    """With all parts below the request's, the version that answered, and the caller's trace."""
    server = serve(otlp_endpoint=collector.url, trace_share=0.0)
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    headers = {"content-type": "application/json"}
    assert exchange(server.http_port, "POST", "/v2/models/m/infer", BODY, headers).status == 200
    answer = exchange(server.http_port, "POST", "/v2/models/m/infer", BODY, headers | {"traceparent": SAMPLED})
    wait_for(lambda: collector.named("infer m"), "the request's span")
    (root,) = collector.named("infer m")
    assert answer.headers["traceparent"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert root.trace_id.hex() == TRACE
    below = {span.name for span in collector.spans if span.parent_span_id == root.span_id}
    assert below == {"decode", "queue", "batch", "run", "encode"}
    assert {a.key: a.value.string_value for a in root.attributes}["changeover.version"] == "1"
