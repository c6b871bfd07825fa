"""Health of the gRPC port, asked once and watched."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from changeover.gateway.door.http2.fields import Status
from changeover.gateway.grpc import HEALTH, GrpcApp
from changeover.protocol.oip_grpc_messages import decode, encode
from tests.gateway.calls import FakeCall
from tests.gateway.extended import grpc_app, hand
from tests.gateway.stage import Stage, stage


def watch(service: str = "", timeout: float | None = None) -> FakeCall:
    """A call of `Watch`."""
    body = encode("grpc.health.v1.HealthCheckRequest", {"service": service})
    return FakeCall(memoryview(body), f"/{HEALTH}/Watch", timeout=timeout)


def told(call: FakeCall) -> list[str]:
    """What it was told."""
    return [decode("grpc.health.v1.HealthCheckResponse", memoryview(one))["status"] for one in call.told]


def in_stage(check: Any) -> None:
    """Run a check with a server that is still in its first load."""

    async def scenario() -> None:
        async with stage() as here:
            here.page.store(0, 0)
            check(here, grpc_app(here))

    asyncio.run(scenario())


def test_who_watches_is_told_at_once_and_of_every_change() -> None:
    """And of nothing else: the same state is told once."""

    def check(here: Stage, app: GrpcApp) -> None:
        watching, other = watch(), watch("inference.GRPCInferenceService")
        for one in (watching, other):
            hand(app, one)
        for ready in (0, 0, 1, 1, 0):
            here.page.store(0, ready)
            app.look()
        assert told(watching) == told(other) == ["NOT_SERVING", "SERVING", "NOT_SERVING"]
        assert watching.status is None, "it goes on"

    in_stage(check)


def test_an_unknown_service_is_told_as_unknown_and_goes_on() -> None:
    """As the standard says: it may come later."""

    def check(here: Stage, app: GrpcApp) -> None:
        watching = watch("nobody")
        hand(app, watching)
        here.page.store(0, 1)
        app.look()
        assert (told(watching), watching.status) == (["SERVICE_UNKNOWN"], None)

    in_stage(check)


def test_who_has_gone_is_told_nothing() -> None:
    """Nor is the call kept."""

    def check(here: Stage, app: GrpcApp) -> None:
        watching = watch()
        hand(app, watching)
        assert watching.abandoned is not None
        watching.abandoned()
        here.page.store(0, 1)
        app.look()
        assert told(watching) == ["NOT_SERVING"]
        assert not app._health._watching

    in_stage(check)


def test_a_watch_ends_with_its_time() -> None:
    """A client that has died without a word is not kept for ever, where it named a deadline."""

    def check(here: Stage, app: GrpcApp) -> None:
        patient, hasty = watch(timeout=1000.0), watch(timeout=1.0)
        hasty.received = time.monotonic() - 2.0
        for one in (patient, hasty):
            hand(app, one)
        app.look()
        assert (patient.status, hasty.status) == (None, Status.DEADLINE_EXCEEDED)
        assert told(hasty) == ["NOT_SERVING"]

    in_stage(check)


def test_a_malformed_watch_is_the_callers_fault() -> None:
    """INVALID_ARGUMENT, and nobody is kept."""

    def check(here: Stage, app: GrpcApp) -> None:
        watching = watch()
        watching.body = memoryview(b"\xff\xff")
        hand(app, watching)
        assert (watching.status, watching.reason) == (Status.INVALID_ARGUMENT, b"malformed_protobuf")
        assert not app._health._watching

    in_stage(check)
