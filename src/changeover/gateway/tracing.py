"""Traces of requests, where they are wanted: what each spent where, and which version answered.

Nothing of the way of a request knows of this: an `Asker` with a watch is put round the client's own, and the runs of
traced requests are seen where runs are counted. Without tracing neither is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final, Protocol

from changeover.errors import ChangeoverError
from changeover.gateway.admission import Room
from changeover.gateway.asker import Asker
from changeover.gateway.models import Models
from changeover.gateway.pipeline import Pipeline
from changeover.gateway.shared_memory import Regions
from changeover.gateway.ticket import Batch
from changeover.protocol.oip import InferRequest
from changeover.protocol.trace_context import NAME, TraceParent, parsed
from changeover.telemetry.statistics import Runs
from changeover.tensors import Raw, Tensor

Value = str | int | float | bool
Values = Mapping[str, Value]
GONE: Final = "client_gone"


class Span(Protocol):
    """A span that has begun; times are those of `time.monotonic`."""

    @property
    def context(self) -> TraceParent:
        """What is passed on."""

    def child(self, name: str, begun: float, ended: float, values: Values) -> None:
        """A part of it, which is over."""

    def end(self, ended: float, values: Values, error: str | None) -> None:
        """It is over; `error` is a sentence."""


class Tracer(Protocol):
    """Begins spans."""

    def close(self) -> None:
        """No more will begin; what is left is sent."""

    def begin(self, name: str, begun: float, parent: TraceParent | None) -> Span | None:
        """A request's span, None when it is none of the sample."""


def pipeline(models: Models, room: Room, timeout: float, regions: Regions | None, tracer: Tracer | None) -> Pipeline:
    """The pipeline of a gateway, with a watch on its requests where there is a tracer."""
    if tracer is None:
        return Pipeline(models, room, timeout, regions)
    models.counting = TracedRuns
    made = TracedPipeline(models, room, timeout, regions)
    made.tracer = tracer
    return made


class TracedPipeline(Pipeline):
    """The pipeline, with a watch on the requests of the sample."""

    tracer: Tracer

    def infer(self, asker: Asker, name: str, version: str | None) -> None:
        """Take a request; its answer goes out now or later."""
        span = self.tracer.begin(f"infer {name}", asker.received, parsed(asker.headers.get(NAME)))
        if span is not None:
            asker = TracedAsker(asker, span)
        super().infer(asker, name, version)


class TracedRuns(Runs):
    """Counts runs, and tells traced requests of theirs."""

    def count(self, batch: Batch, waited: float, answered: float, ended: float) -> None:  # type: ignore[override]
        """Count a run whose answer came at `answered`."""
        super().count(batch, waited, answered, ended)
        for ticket in batch.tickets:
            if isinstance(ticket.asker, TracedAsker):
                ticket.asker.ran(batch, ticket.target.version, answered)


class TracedAsker:
    """A client's `Asker`, and what becomes of its request."""

    __slots__ = (
        "_inner",
        "_over",
        "_parts",
        "_ready",
        "_span",
        "_values",
        "headers",
        "protocol",
        "received",
        "timeout",
    )

    def __init__(self, inner: Asker, span: Span) -> None:
        self._inner = inner
        self._span = span
        self._over = False
        self._parts: list[tuple[str, float, float, Values]] = []
        self._ready = inner.received
        self._values: dict[str, Value] = {}
        # What is passed on, in the answer and the log, names this span as the parent.
        self.headers: Mapping[bytes, bytes] = {**inner.headers, NAME: str(span.context).encode()}
        inner.headers = self.headers
        self.protocol = inner.protocol
        self.received = inner.received
        self.timeout = inner.timeout

    @property
    def size(self) -> int:
        """See `Asker`."""
        return self._inner.size

    @size.setter
    def size(self, size: int) -> None:
        self._inner.size = size

    def watch(self, gone: Callable[[], None] | None) -> None:
        """See `Asker`."""
        if gone is None:
            self._inner.watch(None)
            return

        def left() -> None:
            gone()
            self._end(GONE)

        self._inner.watch(left)

    def decode(self) -> InferRequest:
        """See `Asker`."""
        begun = monotonic()
        asked = self._inner.decode()
        self._ready = monotonic()
        self._parts.append(("decode", begun, self._ready, {"bytes": self.size}))
        return asked

    def encode(self, model: str, version: str, asked: InferRequest, outputs: list[Tensor]) -> list[Raw]:
        """See `Asker`."""
        begun = monotonic()
        chunks = self._inner.encode(model, version, asked, outputs)
        self._parts.append(("encode", begun, monotonic(), {"bytes": sum(len(chunk) for chunk in chunks)}))
        self._values |= {"changeover.model": model, "changeover.version": version}
        return chunks

    def send(self, chunks: list[Raw], epoch: int) -> None:
        """See `Asker`."""
        self._inner.send(chunks, epoch)
        self._values["changeover.epoch"] = epoch
        ended = monotonic()
        asyncio.get_running_loop().call_soon(self._end, None, ended)  # its run is told in this turn of the loop

    def fail(self, error: ChangeoverError, epoch: int | None = None) -> None:
        """See `Asker`."""
        self._inner.fail(error, epoch)
        self._values |= {"error.type": error.reason, "changeover.fault": error.fault}
        self._end(error.message)

    def ran(self, batch: Batch, version: str, answered: float) -> None:
        """A version has run it; one that another answered for is told too, as long as the answer is not out."""
        values: dict[str, Value] = {"changeover.version": version, "rows": batch.rows, "requests": len(batch.tickets)}
        self._parts += [
            ("queue", self._ready, batch.begun, {"changeover.version": version}),
            ("batch", batch.begun, batch.sent, values),
            ("run", batch.sent, answered, {**values, "wall_ns": batch.wall_ns, "cpu_ns": batch.cpu_ns}),
        ]

    def _end(self, error: str | None, ended: float | None = None) -> None:
        if not self._over:
            self._over = True
            for name, begun, done, values in self._parts:
                self._span.child(name, begun, max(begun, done), values)
            self._span.end(ended or monotonic(), self._values, error)
