"""One pipeline for all protocols: a question has the same answer whichever way it came."""

from __future__ import annotations

import asyncio

import pytest

from changeover.gateway.asker import Asker
from changeover.gateway.grpc_asker import GrpcAsker
from changeover.gateway.http_asker import HttpAsker
from tests.gateway.calls import FakeCall, inference
from tests.gateway.stage import Request, entry, question, stage


def both() -> tuple[Request, FakeCall, list[Asker]]:
    """The same question over HTTP and over gRPC, and who asks it."""
    request, call = question(), inference()
    grpc = GrpcAsker(call)  # type: ignore[arg-type]
    assert grpc.route() == ("m", None)
    return request, call, [HttpAsker(request), grpc]  # type: ignore[arg-type]


def test_both_protocols_share_a_batch() -> None:
    """Requests of both are rows of one run, and have the same numbers."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            request, call, askers = both()
            for asker in askers:
                here.pipeline.infer(asker, "m", None)
            assert await worker.serve_one(2.0) == 2
            await here.answered(request)
            await here.until(lambda: call.status is not None, "the call's answer")
            assert request.values == call.numbers == [2, 4, 6, 8]

    asyncio.run(scenario())


@pytest.mark.parametrize("position", [0, 1])
def test_who_goes_away_is_not_answered(position: int) -> None:
    """The other one of the batch is."""

    async def scenario() -> None:
        async with stage() as here:
            (worker,) = here.serve(1, entry(7, "1"))
            request, call, askers = both()
            for asker in askers:
                here.pipeline.infer(asker, "m", None)
            gone = (request, call)[position].abandoned
            assert gone is not None
            gone()
            assert await worker.serve_one(2.0) == 1
            await here.until(lambda: here.pipeline.in_flight == 0, "the end of all requests")
            assert (request.status == 0, call.status is None) == (position == 0, position == 1)
            assert here.models.by_name["m"].held == 0

    asyncio.run(scenario())
