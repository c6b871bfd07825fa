"""Admission: does a request fit the model, is there room for it, and how long has it time (DESIGN §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from changeover.errors import InvalidRequest, Overloaded
from changeover.gateway.door.limits import Limits
from changeover.protocol.oip import InferRequest
from changeover.tensors import Datatype, Raw, Tensor, TensorSpec, bytes_offsets, element_count

if TYPE_CHECKING:
    from changeover.gateway.router import Model, Target

_MAX_TIMEOUT = 3600.0
_SMALL_QUEUE: Final = 64
"""A queue up to this is never too long by its time alone: a slow model may have some callers too."""
_USABLE: Final = 0.8
"""Of the time a request has left: the pace is an estimate, and an answer that comes too late was work for nothing."""
_MOST_RETRY: Final = 60

Shapes = tuple[tuple[int, ...], ...]


class Admitted(msgspec.Struct):
    """A request's tensors in the order of the model's inputs.

    Attributes:
        data: raw bytes a tensor.
        shapes: full shapes.
        rows: rows of the batch it brings; 1 for a model that does not batch.
        key: requests with an equal key may share a batch (or a doorbell).
    """

    data: list[Raw]
    shapes: Shapes
    rows: int
    key: Shapes


@dataclass(frozen=True, slots=True)
class Room:
    """Limits of one model's queue in one gateway.

    Attributes:
        requests: waiting or running.
        seconds: longest expected wait.
        body_bytes: of all their bodies; half of what the door has for all models. One request is always taken.
    """

    requests: int
    seconds: float
    body_bytes: int = Limits().gateway_bytes // 2

    def own(self, requests: int | None, seconds: float | None) -> Room:
        """The same with what a model's plan says itself."""
        if requests is None and seconds is None:
            return self
        return Room(requests or self.requests, seconds or self.seconds, self.body_bytes)

    def check(self, name: str, requests: int, wait: float) -> None:
        """Is there room behind `requests` others, when all of them and one more take `wait` seconds?

        Raises:
            Overloaded: no (`queue_full`, `queue_delay`); it says when to come again.
        """
        if requests >= self.requests:
            raise Overloaded(
                f"model {name!r} has {requests} requests waiting or running; retry later",
                reason="queue_full",
                retry_after=_retry_after(wait),
            )
        if wait > self.seconds and requests >= _SMALL_QUEUE:
            raise Overloaded(
                f"model {name!r} would answer in about {wait:.2f} s, and lets nobody wait longer than "
                f"{self.seconds:g} s; retry later",
                reason="queue_delay",
                retry_after=_retry_after(wait),
            )

    def check_bytes(self, name: str, held: int, more: int) -> None:
        """Is there room for a body of `more` bytes beside the `held` ones?

        Raises:
            Overloaded: no (`queue_full`).
        """
        if held and held + more > self.body_bytes:
            raise Overloaded(
                f"the requests that wait for model {name!r} hold {held >> 20} MiB; retry later", reason="queue_full"
            )


def has_room(model: Model, size: int) -> bool:
    """Whether a body of this size would be taken now, as far as that is known before a version is chosen."""
    target = model.table.active if model.table is not None and model.table.targets else None
    if target is None or target.room is None:
        return True
    try:
        target.room.check(model.name, model.tickets, target.leases * target.batcher.pace.interval)
        target.room.check_bytes(model.name, model.held, size)
    except Overloaded:
        return False
    return True


def check_time(name: str, wait: float, left: float) -> None:
    """Can a request be answered in the `left` seconds that it has, when those before it take `wait` seconds?

    Its own run is not counted: with nobody before it each is taken, so a wrong pace can always be put right.

    Raises:
        Overloaded: hardly (`queue_delay`).
    """
    if wait and wait > left * _USABLE:
        raise Overloaded(
            f"model {name!r} would answer in about {wait:.2f} s; the request has {max(left, 0.0):.2f} s; retry later",
            reason="queue_delay",
            retry_after=_retry_after(wait),
        )


def _retry_after(wait: float) -> int:
    return min(max(ceil(wait), 1), _MOST_RETRY)


def admit(
    request: InferRequest, inputs: list[TensorSpec], positions: Mapping[str, int], *, batchable: bool
) -> Admitted:
    """Match a request's tensors with the model's inputs.

    Raises:
        InvalidRequest: unknown or missing input, another datatype, a shape that does not fit, no rows, rows that
            differ between inputs, BYTES that are not UTF-8.
    """
    tensors = request.inputs
    if len(tensors) != len(inputs):
        _refuse_count(tensors, inputs)
    if len(tensors) > 1 or tensors[0].name != inputs[0].name:
        tensors = _in_order(tensors, inputs, positions)
    for tensor, spec in zip(tensors, inputs, strict=True):
        if tensor.shape != spec.shape or tensor.datatype is not spec.datatype or tensor.datatype is Datatype.BYTES:
            _check_fit(tensor, spec)
    shapes = tuple([t.shape for t in tensors])
    data = [t.data for t in tensors]
    if not batchable:
        return Admitted(data, shapes, 1, shapes)
    rows = shapes[0][0]
    if rows < 1 or any(s[0] != rows for s in shapes):
        raise InvalidRequest(
            f"the first dimension of all inputs must be the same, at least 1 row; got {[s[0] for s in shapes]}",
            reason="rows_mismatch",
        )
    return Admitted(data, shapes, rows, tuple([s[1:] for s in shapes]))


def _in_order(tensors: list[Tensor], inputs: list[TensorSpec], positions: Mapping[str, int]) -> list[Tensor]:
    ordered = list(tensors)
    for tensor in tensors:
        position = positions.get(tensor.name)
        if position is None:
            names = ", ".join(s.name for s in inputs)
            raise InvalidRequest(f"unknown input {tensor.name!r}; the model has {names}", reason="unknown_input")
        ordered[position] = tensor
    return ordered


def require_rows(rows: int, target: Target, other: Target | None) -> None:
    """Let a request pass of as many rows as the version's configuration allows, or that of the one in its place.

    Raises:
        InvalidRequest: it has more (`batch_too_large`).
    """
    most = target.most_rows
    if most is not None and rows > most and (other is None or (other.most_rows is not None and rows > other.most_rows)):
        raise InvalidRequest(
            f"the request has {rows} rows, and max_batch_size of version {target.version} is {most}",
            reason="batch_too_large",
        )


def deadline(received: float, parameters: Mapping[str, object], header: bytes | None, default: float) -> float:
    """When the client stops waiting, on the clock of `received`.

    The header `changeover-timeout` (seconds, or with `ms`, `us`) goes before the parameter `timeout`
    (microseconds, 0 for none, as in Triton's schedule policy).

    Raises:
        InvalidRequest: neither a positive number (reason `invalid_timeout`).
    """
    if header is not None:
        return received + _header_seconds(header)
    value = parameters.get("timeout")
    if value is None or value == 0:
        return received + default
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidRequest(f"parameter timeout: expected microseconds > 0, got {value!r}", reason="invalid_timeout")
    return received + min(value * 1e-6, _MAX_TIMEOUT)


def _header_seconds(header: bytes) -> float:
    text = header.decode("latin-1").strip().lower()
    for suffix, factor in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("", 1.0)):
        if text.endswith(suffix):
            try:
                seconds = float(text[: len(text) - len(suffix)]) * factor
            except ValueError:
                break
            if 0 < seconds < float("inf"):
                return min(seconds, _MAX_TIMEOUT)
            break
    raise InvalidRequest(f"header changeover-timeout: expected seconds > 0 such as 0.5 or 500ms, got {text!r}",
                         reason="invalid_timeout")  # fmt: skip


def _check_fit(tensor: Tensor, spec: TensorSpec) -> None:
    if tensor.datatype is not spec.datatype:
        raise InvalidRequest(
            f"input {spec.name!r}: the model takes {spec.datatype.name}, got {tensor.datatype.name}",
            reason="datatype_mismatch",
        )
    if tensor.shape != spec.shape and not spec.fits(tensor.shape):
        raise InvalidRequest(
            f"input {spec.name!r}: the model takes shape {list(spec.shape)} (-1: any), got {list(tensor.shape)}",
            reason="shape_mismatch",
        )
    if tensor.datatype is Datatype.BYTES:
        _check_utf8(tensor)


def _check_utf8(tensor: Tensor) -> None:
    """Checked here, because one bad element would fail the whole batch in onnxruntime.

    The lengths were checked when the request was decoded. Most texts are found well without a second walk.
    """
    raw = bytearray(tensor.data)
    if raw.isascii():
        return
    # With zeros for their lengths the elements are UTF-8 all together if, and only if, each is: nothing reaches
    # over a zero.
    starts = np.array(bytes_offsets(tensor.data, element_count(tensor.shape))[:-1], np.int64)
    flat = np.frombuffer(raw, np.uint8)
    for byte in range(4):
        flat[starts + byte] = 0
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"input {tensor.name!r}: an element is not UTF-8, and ONNX strings are nothing else",
            reason="bytes_not_utf8",
        ) from None


def _refuse_count(tensors: list[Tensor], inputs: list[TensorSpec]) -> None:
    got = {t.name for t in tensors}
    missing = [s.name for s in inputs if s.name not in got]
    if missing:
        raise InvalidRequest(f"missing input {', '.join(map(repr, missing))}", reason="missing_input")
    raise InvalidRequest(f"expected {len(inputs)} inputs, got {len(tensors)}", reason="unknown_input")
