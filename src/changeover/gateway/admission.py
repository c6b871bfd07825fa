"""Admission: does a request fit the model, is there room for it, and how long has it time (DESIGN §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from changeover.errors import InvalidRequest
from changeover.protocol.oip import InferRequest
from changeover.tensors import Datatype, Raw, Tensor, TensorSpec, split_bytes

_MAX_TIMEOUT = 3600.0

Shapes = tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class Admitted:
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


def admit(
    request: InferRequest, inputs: list[TensorSpec], positions: Mapping[str, int], *, batchable: bool
) -> Admitted:
    """Match a request's tensors with the model's inputs.

    Raises:
        InvalidRequest: unknown or missing input, another datatype, a shape that does not fit, no rows, rows that
            differ between inputs, BYTES that are not UTF-8.
    """
    if len(request.inputs) != len(inputs):
        _refuse_count(request.inputs, inputs)
    ordered: list[Tensor | None] = [None] * len(inputs)
    for tensor in request.inputs:
        position = positions.get(tensor.name)
        if position is None:
            names = ", ".join(s.name for s in inputs)
            raise InvalidRequest(f"unknown input {tensor.name!r}; the model has {names}", reason="unknown_input")
        _check_fit(tensor, inputs[position])
        ordered[position] = tensor
    tensors = [t for t in ordered if t is not None]
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
    """Checked here, because one bad element would fail the whole batch in onnxruntime."""
    count = 1
    for dimension in tensor.shape:
        count *= dimension
    try:
        for item in split_bytes(tensor.data, count):
            item.decode()
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
