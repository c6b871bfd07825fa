"""The methods of the data plane's gRPC port: OIP as Triton's and KServe's clients speak it, and health."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from changeover.access import Guard, Scope
from changeover.errors import CallerError, ChangeoverError, NotFound
from changeover.gateway.catalogue import EXTENSIONS, METADATA, as_mistake, describe, target_of
from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.fields import Head, Refused, Status
from changeover.gateway.door.http2.talk import Turn
from changeover.gateway.extensions import Extensions
from changeover.gateway.grpc_asker import GrpcAsker, StreamAsker, error_status, status_of
from changeover.gateway.grpc_extensions import ExtensionCalls
from changeover.gateway.grpc_health import Health
from changeover.gateway.grpc_repository import INDEX, LOAD, UNLOAD, RepositoryCalls
from changeover.gateway.models import Models
from changeover.gateway.pipeline import Pipeline
from changeover.gateway.repository import Repository
from changeover.protocol.oip_grpc_messages import decode, encode
from changeover.protocol.oip_grpc_schema import METHODS as SCHEMA

INFERENCE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"

Values = dict[str, Any]
_MISTAKEN: Final = ("statistics", "trace")
"""What tells of no such model or version as of a mistake in the request."""


class Method(NamedTuple):
    """A row of this port's table: what answers, and the scope it takes. There is no row without a scope.

    Attributes:
        what: the handler's name.
        scope: what the caller must be allowed to.
        changes: the scope of a call that brings settings to change, where it is another.
        large: what it is asked with may be large; who may ask the others could keep everybody waiting with a bomb.
    """

    what: str
    scope: Scope
    changes: Scope | None = None
    large: bool = False


_OF_SERVICE: Final = {
    "ServerLive": Method("live", Scope.OPEN),
    "ServerReady": Method("ready", Scope.OPEN),
    "ModelReady": Method("model_ready", Scope.INFER),
    "ServerMetadata": Method("server", Scope.INFER),
    "ModelMetadata": Method("model", Scope.INFER),
    "ModelInfer": Method("infer", Scope.INFER, large=True),
    "ModelStreamInfer": Method("stream", Scope.INFER, large=True),
    "ModelConfig": Method("config", Scope.INFER),
    "ModelStatistics": Method("statistics", Scope.INFER),
    "RepositoryIndex": Method(INDEX, Scope.INFER),
    "RepositoryModelLoad": Method(LOAD, Scope.ADMIN, large=True),
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
    f"/{HEALTH}/Watch": Method("watch", Scope.OPEN),
}
"""By path."""
STREAMS: Final = frozenset(path for path, method in METHODS.items() if method.what in ("stream", "watch"))
"""Calls of many messages: inferences in order, and the news of health."""
LARGE: Final = frozenset(path for path, method in METHODS.items() if method.large)
"""Calls whose messages may be large when they are unpacked."""


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
        self._health = Health(models, frozenset(("", INFERENCE, HEALTH)))
        self._handlers: dict[str, Callable[[Values], Values]] = {
            "live": self._live,
            "ready": self._ready,
            "model_ready": self._model_ready,
            "server": self._server,
            "model": self._model,
            "check": self._health.check,
            **ExtensionCalls(extensions).handlers,
        }
        self._later = RepositoryCalls(repository).handlers

    def admit(self, head: Head, certified: bool) -> None:
        """Refuse what no method takes and who may not: nothing is taken in from them."""
        method = METHODS.get(head.path)
        if method is None:
            raise Refused(Status.UNIMPLEMENTED, "method_not_served", f"no such method: {head.path}")
        if self._guard is not None:
            try:
                self._guard.check(method.scope, head.headers.get(b"authorization"), certified)
            except CallerError as error:
                raise Refused(status_of(error), error.reason, error.message) from None

    def look(self) -> None:
        """Tell those who watch the server's health of what is new; called every quarter of a second."""
        self._health.look()

    def __call__(self, call: Call) -> None:
        """Take one call that was let pass."""
        method = METHODS[call.path]
        try:
            if method.what == "infer":
                self._infer(GrpcAsker(call))
            elif method.what == "stream":
                self._infer(StreamAsker(call))
            elif method.what == "watch":
                self._health.watch(cast(Turn, call))  # as every call of `STREAMS` is
            elif method.what in self._later:
                self._later[method.what](call)
            else:
                self._answer(call, method)
        except ChangeoverError as error:
            error_status(call, error)

    def _infer(self, asker: GrpcAsker) -> None:
        try:
            name, version = asker.route()
        except ChangeoverError as error:
            asker.fail(error)
        else:
            self._pipeline.infer(asker, name, version)

    def _answer(self, call: Call, method: Method) -> None:
        messages = SCHEMA[call.path]
        asked = decode(messages.request, call.body)
        if self._guard is not None and method.changes is not None and asked["settings"]:
            self._guard.check(method.changes, call.headers.get(b"authorization"), call.certified)
        try:
            told = self._handlers[method.what](asked)
        except NotFound as error:
            raise (as_mistake(error) if method.what in _MISTAKEN else error) from None
        call.respond((encode(messages.response, told),))

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
