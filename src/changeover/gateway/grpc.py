"""The methods of the data plane's gRPC port: OIP as Triton's and KServe's clients speak it, and health."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from changeover.access import Guard, Scope
from changeover.errors import ChangeoverError, NotFound
from changeover.gateway.catalogue import EXTENSIONS, METADATA, describe, target_of
from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.fields import Status, reason_field
from changeover.gateway.extensions import Extensions
from changeover.gateway.grpc_asker import GrpcAsker, StreamAsker, error_status
from changeover.gateway.grpc_extensions import ExtensionCalls
from changeover.gateway.grpc_repository import INDEX, LOAD, UNLOAD, RepositoryCalls
from changeover.gateway.models import Models
from changeover.gateway.pipeline import Pipeline
from changeover.gateway.repository import Repository
from changeover.protocol.oip_grpc import route_of
from changeover.protocol.oip_grpc_messages import decode, encode
from changeover.protocol.oip_grpc_schema import METHODS as SCHEMA

INFERENCE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"

Values = dict[str, Any]


class Method(NamedTuple):
    """A row of this port's table: what answers, and the scope it takes. There is no row without a scope.

    Attributes:
        what: the handler's name; empty for a method of Triton's that is not here.
        scope: what the caller must be allowed to.
        sentence: for a method that is not here: what to do instead.
        changes: the scope of a call that brings settings to change, where it is another.
    """

    what: str
    scope: Scope
    sentence: str = ""
    changes: Scope | None = None


_OF_SERVICE: Final = {
    "ServerLive": Method("live", Scope.OPEN),
    "ServerReady": Method("ready", Scope.OPEN),
    "ModelReady": Method("model_ready", Scope.INFER),
    "ServerMetadata": Method("server", Scope.INFER),
    "ModelMetadata": Method("model", Scope.INFER),
    "ModelInfer": Method("infer", Scope.INFER),
    "ModelStreamInfer": Method("stream", Scope.INFER),
    "ModelConfig": Method("config", Scope.INFER),
    "ModelStatistics": Method("statistics", Scope.INFER),
    "RepositoryIndex": Method(INDEX, Scope.INFER),
    "RepositoryModelLoad": Method(LOAD, Scope.ADMIN),
    "RepositoryModelUnload": Method(UNLOAD, Scope.ADMIN),
    "SystemSharedMemoryStatus": Method("region_status", Scope.INFER),
    "SystemSharedMemoryRegister": Method("region_register", Scope.INFER),
    "SystemSharedMemoryUnregister": Method("region_unregister", Scope.INFER),
    "CudaSharedMemoryStatus": Method("cuda_status", Scope.INFER),
    "CudaSharedMemoryRegister": Method("cuda_register", Scope.INFER),
    "CudaSharedMemoryUnregister": Method("cuda_unregister", Scope.INFER),
    "TraceSetting": Method("trace", Scope.INFER, changes=Scope.ADMIN),
    "LogSettings": Method("logging", Scope.INFER, changes=Scope.ADMIN),
}
METHODS: Final = {
    **{f"/{INFERENCE}/{name}": method for name, method in _OF_SERVICE.items()},
    f"/{HEALTH}/Check": Method("check", Scope.OPEN),
    f"/{HEALTH}/Watch": Method("", Scope.OPEN, "health is not streamed here; ask Check again and again"),
}
"""By path."""
STREAMS: Final = frozenset(path for path, method in METHODS.items() if method.what == "stream")
"""Calls of many messages, each of which is an inference."""


class GrpcApp:
    """Answers the calls of the gRPC port. Health needs no room in any queue, so it is answered under overload.

    Args:
        pipeline: takes the inferences.
        models: what is served.
        extensions: what Triton's protocol has beyond the standard.
        repository: is asked what concerns the model repository.
        guard: lets each call pass or not, by the scope of its method; None lets all pass.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        models: Models,
        extensions: Extensions,
        repository: Repository,
        guard: Guard | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._models = models
        self._extensions = sorted([*EXTENSIONS, *extensions.names, "model_repository"])
        self._guard = guard
        self._handlers: dict[str, Callable[[Values], Values]] = {
            "live": self._live,
            "ready": self._ready,
            "model_ready": self._model_ready,
            "server": self._server,
            "model": self._model,
            "check": self._check,
            **ExtensionCalls(extensions).handlers,
        }
        self._later = RepositoryCalls(repository).handlers

    def __call__(self, call: Call) -> None:
        """Take one call."""
        method = METHODS.get(call.path)
        if method is None:
            _unimplemented(call, f"no such method: {call.path}")
            return
        try:
            if self._guard is not None:
                self._guard.check(method.scope, call.headers.get(b"authorization"), call.certified)
            if method.what == "infer":
                self._infer(call, GrpcAsker(call))
            elif method.what == "stream":
                self._infer(call, StreamAsker(call))
            elif method.what in self._later:
                self._later[method.what](call)
            elif method.what:
                self._answer(call, method)
            else:
                _unimplemented(call, f"{call.path[1:]} is not served here: {method.sentence}")
        except ChangeoverError as error:
            error_status(call, error)

    def _infer(self, call: Call, asker: GrpcAsker) -> None:
        try:
            name, version = route_of(call.body)
        except ChangeoverError as error:
            asker.fail(error)
        else:
            self._pipeline.infer(asker, name, version or None)

    def _answer(self, call: Call, method: Method) -> None:
        messages = SCHEMA[call.path]
        asked = decode(messages.request, call.body)
        if self._guard is not None and method.changes is not None and asked["settings"]:
            self._guard.check(method.changes, call.headers.get(b"authorization"), call.certified)
        call.respond((encode(messages.response, self._handlers[method.what](asked)),))

    def _live(self, _: Values) -> Values:
        return {"live": True}

    def _ready(self, _: Values) -> Values:
        return {"ready": self._models.ready}

    def _server(self, _: Values) -> Values:
        return {**METADATA, "extensions": self._extensions}

    def _model_ready(self, asked: Values) -> Values:
        """A model that nobody knows is not ready: clients of Triton ask before they load one."""
        try:
            target = target_of(self._models, asked["name"], asked["version"] or None)
        except ChangeoverError:
            return {"ready": False}
        return {"ready": target.batcher.channel is not None}

    def _model(self, asked: Values) -> Values:
        return describe(self._models, asked["name"], asked["version"] or None)

    def _check(self, asked: Values) -> Values:
        service = asked["service"]
        if service not in ("", INFERENCE, HEALTH):
            raise NotFound(f"no such service: {service!r}", reason="service_not_found")
        return {"status": "SERVING" if self._models.ready else "NOT_SERVING"}


def _unimplemented(call: Call, sentence: str) -> None:
    call.fail(Status.UNIMPLEMENTED, sentence, reason_field("method_not_served"))
