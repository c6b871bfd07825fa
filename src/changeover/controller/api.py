"""The control API on its own port: thin routes over the service, errors as `{"error", "reason"}`."""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from typing import IO, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from changeover.access import Guard, Scope
from changeover.controller import openapi
from changeover.controller.api_rollouts import RolloutApi
from changeover.controller.api_samples import SamplesApi
from changeover.controller.api_sequences import SequenceApi
from changeover.controller.asked import asked
from changeover.controller.bodies import AlertList, PushedBody
from changeover.controller.callers import checked
from changeover.controller.dashboard import rows as dashboard
from changeover.controller.endpoint import Endpoint, answer
from changeover.controller.events import stream
from changeover.controller.service import Service
from changeover.errors import (
    ChangeoverError,
    Conflict,
    Forbidden,
    Internal,
    InvalidRequest,
    ModelError,
    NotFound,
    TooLarge,
    Unauthenticated,
)
from changeover.openapi.operation import together
from changeover.openapi.page import POLICY, page
from changeover.records.certificate import Certificate

_TAR_TYPES = ("application/x-tar", "application/tar")
_SPOOL = 8 << 20
_MAX_PUSH = 8 << 30
_STATUS = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (ModelError, 422),
)


def endpoints(service: Service) -> list[Endpoint]:
    """The table of the control port."""
    api, admin, read = _Api(service), Scope.ADMIN, Scope.READ
    push = Endpoint(
        "POST",
        "/v1/models/{model}/versions",
        admin,
        api.push,
        "Store a new version and start its rollout.",
        gives=PushedBody,
        status=202,
        query=("version",),
        upload=True,
        errors=together(openapi.PUSH, openapi.JOURNAL),
    )
    model = together(openapi.MODEL, openapi.JOURNAL)
    table = [
        Endpoint("GET", "/v1/models", read, api.models, "All models with their versions.", errors=openapi.JOURNAL),
        Endpoint("GET", "/v1/models/{model}", read, api.model, "One model with its versions.", errors=model),
        push,
        *RolloutApi(service).endpoints(),
        *SequenceApi(service).endpoints(),
        *SamplesApi(service).endpoints(),
        Endpoint(
            "GET",
            "/v1/rollouts/{rollout}/certificate",
            read,
            api.certificate,
            "What was measured while it went on.",
            gives=Certificate,
            errors=openapi.CERTIFICATE,
        ),
        *_monitoring(api),
        Endpoint("GET", "/v1/health", Scope.OPEN, api.health, "Whether the control plane is well."),
        *dashboard.endpoints(),
    ]
    return [*table, *_descriptions(table)]


def _monitoring(api: _Api) -> list[Endpoint]:
    """The rows for who watches: events, alerts, metrics."""
    read = Scope.READ
    return [
        Endpoint(
            "GET",
            "/v1/events",
            read,
            api.events,
            "What happens, as it happens: server-sent events without an end.",
            query=("after", "last", "model", "types"),
            headers=("last-event-id",),
            errors=together(openapi.EVENTS, openapi.JOURNAL),
            content=openapi.STREAM,
        ),
        Endpoint("GET", "/v1/alerts", read, api.alerts, "The alerts that fire now.", AlertList, errors=openapi.JOURNAL),
        Endpoint(
            "GET",
            "/metrics",
            read,
            api.metrics,
            "Metrics for Prometheus: text, OpenMetrics or protobuf, as `Accept` asks for.",
            content=openapi.METRICS,
        ),
    ]


def _descriptions(table: list[Endpoint]) -> list[Endpoint]:
    """The rows that describe the port, themselves too. They say nothing of this server: everybody may read them."""

    @cache
    def told() -> dict[str, Any]:
        return openapi.document([*table, *rows])

    async def description(_: Request) -> Response:
        return answer(told())

    async def docs(_: Request) -> Response:
        return Response(page(told()), media_type="text/html", headers={"content-security-policy": POLICY})

    rows = [
        Endpoint("GET", "/openapi.json", Scope.OPEN, description, "This description."),
        Endpoint("GET", "/docs", Scope.OPEN, docs, "This description, as a page for people.", content=openapi.PAGE),
    ]
    return rows


def make_app(service: Service, guard: Guard | None = None, *, certified: bool = False) -> Starlette:
    """The application; every route answers JSON, and lets pass whom `guard` lets pass.

    Args:
        service: what the routes speak to.
        guard: None lets everybody on this machine pass.
        certified: the port takes only connections with a verified client certificate.
    """
    routes = [Route(e.path, checked(e, guard, certified), methods=[e.method]) for e in endpoints(service)]
    return Starlette(routes=routes, exception_handlers={ChangeoverError: _on_error, 404: _on_404, 405: _on_405})


def status_of(error: ChangeoverError) -> int:
    """HTTP status of an error on the control port."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 400 if error.fault == "caller" else 503


class _Api:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def models(self, _: Request) -> Response:
        return answer({"models": await self._service.models()})

    async def model(self, request: Request) -> Response:
        return answer(await self._service.model(request.path_params["model"]))

    async def push(self, request: Request) -> Response:
        """The ONNX file as the body, or a tar stream when there is more than one file."""
        version = _version(request.query_params.get("version"))
        tar = request.headers.get("content-type", "").split(";")[0].strip() in _TAR_TYPES
        told = asked(self._service.chronicle, request, "push", version=None if version is None else str(version))
        with told, tempfile.SpooledTemporaryFile(_SPOOL, dir=str(self._service.incoming)) as spool:
            await _receive(request, spool)
            pushed = await self._service.push(request.path_params["model"], version, spool, tar=tar)
        return answer(pushed, 202)

    async def certificate(self, request: Request) -> Response:
        return answer(await self._service.certificate(request.path_params["rollout"]))

    async def events(self, request: Request) -> Response:
        """The feed, to one listener."""
        return await stream.events(self._service.feed, request)

    async def alerts(self, _: Request) -> Response:
        """What fires."""
        return answer({"alerts": await self._service.watch.firing()})

    async def metrics(self, request: Request) -> Response:
        form, body = await self._service.scrape.answer(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": form})

    async def health(self, _: Request) -> Response:
        return answer(self._service.health())


async def _receive(request: Request, spool: IO[bytes]) -> None:
    """The body into a file: memory for small ones, disk for the rest."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_PUSH:
            raise TooLarge("a pushed version may have 8 GiB at most")
        await _store(spool, chunk)
    if not size:
        raise InvalidRequest(
            "the body is empty; send the ONNX file, or a tar stream with model.onnx in it", reason="empty_body"
        )
    spool.seek(0)


async def _store(spool: IO[bytes], chunk: bytes) -> None:
    """Append; what goes to the disk goes by a thread."""
    try:
        if spool.tell() + len(chunk) <= _SPOOL:
            spool.write(chunk)
        else:
            await asyncio.to_thread(spool.write, chunk)
    except OSError as error:
        raise Internal(
            f"the pushed version cannot be stored ({error.strerror}); free some space and push again",
            reason="artifacts_unwritable",
        ) from None


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 10 or not 0 < int(text) < 2**31:
        raise InvalidRequest(f"version: expected a positive number, got {text!r}", reason="invalid_version")
    return int(text)


def _error(message: str, reason: str, status: int) -> Response:
    return answer({"error": message, "reason": reason}, status)


async def _on_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, ChangeoverError):
        raise error
    refusal = _error(error.message, error.reason, status_of(error))
    if isinstance(error, Unauthenticated):
        refusal.headers["www-authenticate"] = "Bearer"
    return refusal


async def _on_404(request: Request, _: Exception) -> Response:
    return _error(f"no such path: {request.url.path}; GET /v1/models lists the models", "path_not_found", 404)


async def _on_405(request: Request, _: Exception) -> Response:
    return _error(f"{request.url.path} does not take {request.method}", "method_not_allowed", 405)
