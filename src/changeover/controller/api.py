"""The control API on its own port: thin routes over the service, errors as `{"error", "reason"}`."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from typing import IO, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from changeover.controller.service import Service
from changeover.errors import ChangeoverError, Conflict, InvalidRequest, ModelError, NotFound, TooLarge

_TAR_TYPES = ("application/x-tar", "application/tar")
_SPOOL = 8 << 20
_MAX_PUSH = 8 << 30
Handler = Callable[[Request], Awaitable[Response]]


def make_app(service: Service) -> Starlette:
    """The application; every route answers JSON."""
    api = _Api(service)
    routes = [
        Route("/v1/models", api.models, methods=["GET"]),
        Route("/v1/models/{model}", api.model, methods=["GET"]),
        Route("/v1/models/{model}/versions", api.push, methods=["POST"]),
        Route("/v1/models/{model}/rollout", api.rollout, methods=["GET"]),
        Route("/v1/models/{model}/rollout/undo", api.undo, methods=["POST"]),
        Route("/v1/models/{model}/rollouts", api.rollouts, methods=["GET"]),
        Route("/v1/rollouts/{rollout}", api.rollout_by_id, methods=["GET"]),
        Route("/v1/rollouts/{rollout}/certificate", api.certificate, methods=["GET"]),
        Route("/v1/health", api.health, methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={ChangeoverError: _on_error, 404: _on_404, 405: _on_405})


def status_of(error: ChangeoverError) -> int:
    """HTTP status of an error on the control port."""
    for kind, status in ((NotFound, 404), (Conflict, 409), (TooLarge, 413), (ModelError, 422)):
        if isinstance(error, kind):
            return status
    return 400 if error.fault == "caller" else 503


class _Api:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def models(self, _: Request) -> Response:
        return _json({"models": self._service.models()})

    async def model(self, request: Request) -> Response:
        return _json(self._service.model(request.path_params["model"]))

    async def push(self, request: Request) -> Response:
        """The ONNX file as the body, or a tar stream when there is more than one file."""
        version = _version(request.query_params.get("version"))
        tar = request.headers.get("content-type", "").split(";")[0].strip() in _TAR_TYPES
        with tempfile.SpooledTemporaryFile(_SPOOL, dir=str(self._service.incoming)) as spool:
            await _receive(request, spool)
            pushed = await self._service.push(request.path_params["model"], version, spool, tar=tar)
        return _json(pushed, 202)

    async def rollout(self, request: Request) -> Response:
        return _json(self._service.rollout_of(request.path_params["model"]))

    async def undo(self, request: Request) -> Response:
        return _json(await self._service.undo(request.path_params["model"]))

    async def rollouts(self, request: Request) -> Response:
        return _json({"rollouts": self._service.rollouts(request.path_params["model"])})

    async def rollout_by_id(self, request: Request) -> Response:
        return _json(self._service.rollout(request.path_params["rollout"]))

    async def certificate(self, request: Request) -> Response:
        return _json(self._service.certificate(request.path_params["rollout"]))

    async def health(self, _: Request) -> Response:
        return _json(self._service.health())


async def _receive(request: Request, spool: IO[bytes]) -> None:
    """The body into a file: memory for small ones, disk for the rest."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_PUSH:
            raise TooLarge("a pushed version may have 8 GiB at most")
        spool.write(chunk)
    if not size:
        raise InvalidRequest(
            "the body is empty; send the ONNX file, or a tar stream with model.onnx in it", reason="empty_body"
        )
    spool.seek(0)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 10 or not 0 < int(text) < 2**31:
        raise InvalidRequest(f"version: expected a positive number, got {text!r}", reason="invalid_version")
    return int(text)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _error(message: str, reason: str, status: int) -> Response:
    return _json({"error": message, "reason": reason}, status)


async def _on_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, ChangeoverError):
        raise error
    return _error(error.message, error.reason, status_of(error))


async def _on_404(request: Request, _: Exception) -> Response:
    return _error(f"no such path: {request.url.path}; GET /v1/models lists the models", "path_not_found", 404)


async def _on_405(request: Request, _: Exception) -> Response:
    return _error(f"{request.url.path} does not take {request.method}", "method_not_allowed", 405)
