"""Both ports with their extensions over a stage, on a board of its own."""

from __future__ import annotations

import os
from typing import Any
from weakref import finalize

from changeover.access import Guard
from changeover.gateway.common import Common
from changeover.gateway.door.http2.fields import Refused, reason_field
from changeover.gateway.extensions import Extensions
from changeover.gateway.grpc import GrpcApp
from changeover.gateway.http import HttpApp
from changeover.gateway.shared_memory import Regions
from changeover.transport.board import Board, create_board
from tests.gateway.calls import FakeCall
from tests.gateway.stage import Request, Stage


def http_app(here: Stage, guard: Guard | None = None) -> HttpApp:
    """The application of the HTTP port."""
    return HttpApp(here.pipeline, here.models, _extensions(here), here.repository, guard)


def grpc_app(here: Stage, guard: Guard | None = None) -> GrpcApp:
    """The application of the gRPC port."""
    return GrpcApp(here.pipeline, here.models, _extensions(here), here.repository, guard)


def _extensions(here: Stage) -> Extensions:
    """Their board's memory lives as long as the test."""
    memory = create_board(1)
    finalize(here, os.close, memory)
    common = Common(Board(memory))
    return Extensions(here.models, common, Regions(common, 1 << 20, enabled=False), 0)


def ask(here: Stage, method: str, path: str, guard: Guard | None = None, body: bytes = b"", **changes: Any) -> Request:
    """A request to an application that knows nothing of others before."""
    request = Request(body, method=method, path=path, **changes)
    http_app(here, guard)(request)  # type: ignore[arg-type]
    return request


def take(here: Stage, asked: FakeCall, guard: Guard | None = None) -> FakeCall:
    """Hand a call to an application that knows nothing of others before, as a door does."""
    hand(grpc_app(here, guard), asked)
    return asked


def hand(app: GrpcApp, asked: FakeCall) -> None:
    """Hand a call to an application as a door does: its fields first."""
    try:
        app.admit(asked, asked.certified)  # type: ignore[arg-type]
    except Refused as refusal:
        asked.fail(refusal.status, refusal.message, reason_field(refusal.reason))
    else:
        app(asked)  # type: ignore[arg-type]
