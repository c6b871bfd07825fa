"""Traces of requests: each part with its times, whatever becomes of the request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from changeover.gateway.admission import Room
from changeover.gateway.pipeline import Pipeline
from changeover.gateway.tracing import GONE, TracedRuns, Values, pipeline
from changeover.protocol.trace_context import TraceParent, parsed
from changeover.telemetry.statistics import Runs
from tests.gateway.extended import http_app
from tests.gateway.stage import Request, Stage, entry, question, stage

OWN = TraceParent("a" * 32, "b" * 16, True)
SENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class Told:
    """A span that is kept."""

    name: str
    begun: float
    parent: TraceParent | None
    context: TraceParent = OWN
    parts: list[tuple[str, float, float, dict[str, Any]]] = field(default_factory=list)
    ended: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def child(self, name: str, begun: float, ended: float, values: Values) -> None:
        assert not self.ended
        self.parts.append((name, begun, ended, dict(values)))

    def end(self, ended: float, values: Values, error: str | None) -> None:
        assert not self.ended, "it ended twice"
        self.ended, self.values, self.error = ended, dict(values), error


@dataclass
class Keeper:
    """A tracer that keeps what it is told; `wanted` says of which requests."""

    spans: list[Told] = field(default_factory=list)
    wanted: bool = True

    def begin(self, name: str, begun: float, parent: TraceParent | None) -> Told | None:
        if not self.wanted:
            return None
        self.spans.append(Told(name, begun, parent))
        return self.spans[-1]

    def close(self) -> None:
        """There is nothing to send."""


def traced(here: Stage) -> Keeper:
    """Have a stage's requests traced; before a model is served."""
    keeper = Keeper()
    here.pipeline = pipeline(here.models, Room(100, 1.0), 30.0, None, keeper)
    here.models.serve_with(here.pipeline)
    return keeper


def asked(here: Stage, request: Request) -> Request:
    """Hand it to the HTTP port."""
    http_app(here)(request)  # type: ignore[arg-type]
    return request


def test_a_request_that_is_answered() -> None:
    """Decode, queue, batch, run and encode follow one another inside it; the answer names its span."""

    async def scenario() -> None:
        async with stage() as here:
            keeper = traced(here)
            (worker,) = here.serve(3, entry(7, "1"))
            request = asked(here, question(headers={b"traceparent": SENT}))
            await worker.serve_one(2.0)
            await here.until(lambda: bool(keeper.spans[0].ended), "the end of the span")
            assert request.values == [2, 4, 6, 8]
            assert b"traceparent: " + str(OWN).encode() in request.head
            (span,) = keeper.spans
            assert (span.name, span.parent, span.error) == ("infer m", parsed(SENT), None)
            assert span.values == {"changeover.model": "m", "changeover.version": "1", "changeover.epoch": 3}
            parts = sorted(span.parts, key=lambda part: part[1:3])
            assert [part[0] for part in parts] == ["decode", "queue", "batch", "run", "encode"]
            times = [time for _, begun, ended, _ in parts[:4] for time in (begun, ended)]
            assert [span.begun, *times, span.ended] == sorted([span.begun, *times, span.ended])
            assert parts[3][3] == {"changeover.version": "1", "rows": 1, "requests": 1, "wall_ns": 1000, "cpu_ns": 1000}

    asyncio.run(scenario())


def test_a_request_that_fails() -> None:
    """In the model, and before it: the reason and the sentence."""

    async def scenario() -> None:
        async with stage() as here:
            keeper = traced(here)
            (worker,) = here.serve(3, entry(7, "1"))
            broken = asked(here, Request(b"{"))
            failed = asked(here, question())
            header, _ = await worker.take()
            worker.refuse(header)
            await here.until(lambda: bool(failed.status), "an answer")
            assert (broken.status, failed.status) == (400, 500)
            first, second = keeper.spans
            assert first.values == {"error.type": "malformed_json", "changeover.fault": "caller"}
            assert second.values["changeover.fault"] == "model"
            assert second.error is not None
            assert [part[0] for part in second.parts] == ["decode"]

    asyncio.run(scenario())


def test_a_client_that_goes_away() -> None:
    """The span ends all the same, and only once though the run comes back later."""

    async def scenario() -> None:
        async with stage() as here:
            keeper = traced(here)
            (worker,) = here.serve(3, entry(7, "1"))
            request = asked(here, question())
            header, (part,) = await worker.take()
            assert request.abandoned is not None
            request.abandoned()
            assert keeper.spans[0].error == GONE
            worker.give(header, worker.rows(header, part))
            again = asked(here, question())
            await worker.serve_one(2.0)
            await here.until(lambda: bool(again.status), "an answer")

    asyncio.run(scenario())


@pytest.mark.parametrize("tracer", [None, Keeper(wanted=False)])
def test_what_is_not_traced_is_left_alone(tracer: Keeper | None) -> None:
    """Without a tracer the pipeline is the plain one; outside of the sample a request is answered as ever."""

    async def scenario() -> None:
        async with stage() as here:
            made = pipeline(here.models, Room(100, 1.0), 30.0, None, tracer)
            assert (type(made) is Pipeline) is (tracer is None)
            assert here.models.counting is (Runs if tracer is None else TracedRuns)
            here.pipeline = made
            here.models.serve_with(made)
            (worker,) = here.serve(3, entry(7, "1"))
            request = asked(here, question(headers={b"traceparent": SENT}))
            await worker.serve_one(2.0)
            await here.until(lambda: bool(request.status), "an answer")
            assert b"traceparent: " + SENT in request.head

    asyncio.run(scenario())
