"""An inference that is asked for over gRPC, and the error tree as codes of gRPC."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from changeover.errors import (
    ChangeoverError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    ModelNotReady,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.fields import Status, reason_field
from changeover.gateway.door.http2.hpack import encode
from changeover.gateway.router import ROLES
from changeover.protocol import oip_grpc
from changeover.protocol.oip import InferRequest
from changeover.protocol.oip_grpc_messages import as_parameters
from changeover.protocol.trace_context import NAME, passed_on
from changeover.telemetry.observations import GRPC
from changeover.tensors import Raw, Tensor

_STATUS: Final = (
    (Unauthenticated, Status.UNAUTHENTICATED),
    (Forbidden, Status.PERMISSION_DENIED),
    (NotFound, Status.NOT_FOUND),
    (TooLarge, Status.RESOURCE_EXHAUSTED),
    (Conflict, Status.FAILED_PRECONDITION),
    (Overloaded, Status.UNAVAILABLE),
    (ModelNotReady, Status.UNAVAILABLE),
    (Unavailable, Status.UNAVAILABLE),
    (DeadlineExceeded, Status.DEADLINE_EXCEEDED),
)
"""`UNAVAILABLE` for what may be well a moment later: it is the code that clients' retry policies name. What is too
large is `RESOURCE_EXHAUSTED`, as a message over the limit is in every gRPC server."""


class GrpcAsker:
    """The `Asker` of a call of the gRPC port."""

    protocol = GRPC
    __slots__ = ("_call", "_cut", "headers", "received", "size", "timeout")

    _cut: oip_grpc.Cut

    def __init__(self, call: Call) -> None:
        self._call = call
        self.headers = call.headers
        self.size = len(call.body)
        self.received = call.received
        self.timeout = call.timeout

    def route(self) -> tuple[str, str | None]:
        """The model and the version that are asked; the first thing to be done with a request.

        Raises:
            InvalidRequest: the message is none, or the version is neither a number nor a role.
            TooLarge: it has too many fields.
        """
        self._cut = oip_grpc.Cut(self._call.body)
        name, version = self._cut.route()
        if version and not version.isdecimal() and version not in ROLES:
            raise InvalidRequest(
                f"model_version {version[:60]!r} is neither a number nor one of {', '.join(ROLES)}",
                reason="version_not_found",
            )
        return name, version or None

    def watch(self, gone: Callable[[], None] | None) -> None:
        """Call `gone` when the client cancels or goes away."""
        self._call.abandoned = gone

    def decode(self) -> InferRequest:
        """See `Asker`."""
        return self._cut.decode().request

    def encode(self, model: str, version: str, asked: InferRequest, outputs: list[Tensor]) -> list[Raw]:
        """See `Asker`; every output as raw contents."""
        return oip_grpc.encode_response(model, version, asked.id, outputs, asked.remarks or {})

    def send(self, chunks: list[Raw], epoch: int) -> None:
        """Answer with OK."""
        trace = self.headers.get(NAME)
        fields = epoch_field(epoch)
        self._call.respond(chunks, fields if trace is None else fields + traced_field(trace))

    def fail(self, error: ChangeoverError, epoch: int | None = None) -> None:
        """Answer with the error's code."""
        error_status(self._call, error, epoch, self.headers.get(NAME))


class StreamAsker(GrpcAsker):
    """The `Asker` of one message of a stream: errors are messages too, and the next one is an inference again."""

    __slots__ = ("_asked",)

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._asked: oip_grpc.GrpcAsked | None = None

    def decode(self) -> InferRequest:
        """See `Asker`."""
        self._asked = self._cut.decode()
        return self._asked.request

    def encode(self, model: str, version: str, asked: InferRequest, outputs: list[Tensor]) -> list[Raw]:
        """See `Asker`; each answer is its request's last one, which clients of Triton's streams are told."""
        remarks = {"triton_final_response": True, **(asked.remarks or {})}
        return oip_grpc.encode_response(model, version, asked.id, outputs, remarks)

    def send(self, chunks: list[Raw], epoch: int) -> None:
        """Answer with an `infer_response`; there is no place for the epoch."""
        del epoch
        self._call.respond(oip_grpc.stream_response(chunks))

    def fail(self, error: ChangeoverError, epoch: int | None = None) -> None:
        """Answer with an `error_message`; beside it whose request it was, and the reason."""
        del epoch
        asked = self._asked
        told: dict[str, Any] = {"parameters": as_parameters({"changeover-reason": error.reason})}
        if asked is not None:
            told |= {"model_name": asked.model, "model_version": asked.version, "id": asked.request.id}
        self._call.respond((oip_grpc.stream_error(error.message, told),))


def status_of(error: ChangeoverError) -> Status:
    """The code of an error: the caller's faults have their own, and what is left is a defect of model or server."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return Status.INVALID_ARGUMENT if error.fault == "caller" else Status.INTERNAL


def error_status(call: Call, error: ChangeoverError, epoch: int | None = None, trace: bytes | None = None) -> None:
    """Answer with the code and the sentence; metadata hold the reason, and when to come again."""
    fields = reason_field(error.reason)
    if epoch is not None:
        fields += epoch_field(epoch)
    if isinstance(error, Overloaded | ModelNotReady):
        fields += _retry_fields(error.retry_after)
    if trace is not None:
        fields += traced_field(trace)
    call.fail(status_of(error), error.message, fields)


def traced_field(trace: bytes) -> bytes:
    """Metadata that pass a request's `traceparent` on; none for what is none."""
    passed = passed_on(trace)
    return b"" if passed is None else encode([(NAME, passed)])


@lru_cache(256)
def epoch_field(epoch: int) -> bytes:
    """Metadata of an inference's answer."""
    return encode([(b"changeover-epoch", b"%d" % epoch)])


@lru_cache(64)
def _retry_fields(seconds: int) -> bytes:
    """`retry-after` as over HTTP, and what gRPC's own retries obey (its proposal A6)."""
    return encode([(b"retry-after", b"%d" % seconds), (b"grpc-retry-pushback-ms", b"%d" % (seconds * 1000))])
