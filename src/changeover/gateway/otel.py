"""Spans as OpenTelemetry has them, sent to a collector by OTLP over HTTP; the extra `otel` brings what it needs."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from time import monotonic_ns, time_ns
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from changeover import __version__
from changeover.gateway.tracing import Span, Values
from changeover.protocol.trace_context import TraceParent

_PATIENCE: Final = 2.0
"""Seconds for one call of the collector, and for all that is left at the end."""


class OtelTracer:
    """The `Tracer` of a gateway.

    Args:
        endpoint: of the collector, with its path.
        share: of the requests that come without a trace of their own; others follow their caller.
    """

    def __init__(self, endpoint: str, share: float) -> None:
        names: dict[str, str | int] = {
            "service.name": "changeover",
            "service.version": __version__,
            "process.pid": os.getpid(),
        }
        sampler = ParentBased(TraceIdRatioBased(share))
        self._provider = TracerProvider(sampler, Resource.create(names), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=_PATIENCE)))
        self._tracer = self._provider.get_tracer("changeover.gateway", __version__)
        self._since = time_ns() - monotonic_ns()

    def begin(self, name: str, begun: float, parent: TraceParent | None) -> Span | None:
        """See `Tracer`."""
        context = None if parent is None else set_span_in_context(NonRecordingSpan(_context_of(parent)))
        span = self._tracer.start_span(name, context, SpanKind.SERVER, start_time=self._at(begun))
        return _Span(self, span) if span.is_recording() else None

    def part(self, of: Any, name: str, begun: float, ended: float, values: Values) -> None:
        """A span below another, which is over."""
        context = set_span_in_context(of)
        span = self._tracer.start_span(name, context, attributes=dict(values), start_time=self._at(begun))
        span.end(self._at(ended))

    def end(self, span: Any, ended: float) -> None:
        """A span is over."""
        span.end(self._at(ended))

    def close(self) -> None:
        """Send what is left, as far as the collector takes it."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(_PATIENCE)

    def _at(self, seconds: float) -> int:
        return int(seconds * 1e9) + self._since


@dataclass(slots=True)
class _Span:
    tracer: OtelTracer
    span: Any

    @property
    def context(self) -> TraceParent:
        own = self.span.get_span_context()
        return TraceParent(f"{own.trace_id:032x}", f"{own.span_id:016x}", True)

    def child(self, name: str, begun: float, ended: float, values: Values) -> None:
        self.tracer.part(self.span, name, begun, ended, values)

    def end(self, ended: float, values: Values, error: str | None) -> None:
        self.span.set_attributes(dict(values))
        if error is not None:
            self.span.set_status(Status(StatusCode.ERROR, error))
        self.tracer.end(self.span, ended)


def _context_of(parent: TraceParent) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(parent.trace, 16), int(parent.parent, 16), is_remote=True, trace_flags=flags)
