"""A request that is nothing but the bytes of a model's only input (`Inference-Header-Content-Length: 0`). Pure.

Shape and datatype are the model's: one row where it takes batches, and one free dimension at most, as large as the body
says. A BYTES input takes the body as its one element. The answer comes in binary form. Source: "Raw Binary Request" in
Triton's "Binary Tensor Data Extension".
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from types import MappingProxyType
from typing import Final

from changeover.errors import InvalidRequest
from changeover.protocol.oip import InferRequest
from changeover.protocol.oip_members import check_content
from changeover.tensors import Datatype, Tensor, TensorSpec, join_bytes

_NONE: Final = MappingProxyType[str, object]({})


def raw_request(body: memoryview) -> InferRequest:
    """The request that a body without a header is; what its bytes mean is not known yet."""
    return InferRequest("", [], None, _NONE, binary_output=True, raw=body)


def raw_input(body: memoryview, inputs: Sequence[TensorSpec], *, batchable: bool) -> Tensor:
    """The input that a body is, for a model with these inputs.

    Raises:
        InvalidRequest: `raw_not_possible`: the model has several inputs or free dimensions; `shape_data_mismatch`: the
            bytes are no whole number of elements; `value_out_of_range`: a BOOL that is neither 0 nor 1.
    """
    if len(inputs) != 1:
        raise _impossible(f"it has {len(inputs)} inputs")
    (spec,) = inputs
    shape = (1, *spec.shape[1:]) if batchable else spec.shape
    if spec.datatype is Datatype.BYTES:
        if prod(max(size, 1) for size in shape) != 1:
            raise _impossible(f"a text of shape {list(spec.shape)} has several elements")
        shape = tuple([1] * len(shape))
        return Tensor(spec.name, spec.datatype, shape, join_bytes([bytes(body)]))
    shape = _filled(shape, len(body), spec)
    tensor = Tensor(spec.name, spec.datatype, shape, body)
    if spec.datatype is Datatype.BOOL:
        check_content(spec.name, spec.datatype, shape, body)
    return tensor


def _filled(shape: tuple[int, ...], size: int, spec: TensorSpec) -> tuple[int, ...]:
    """The shape with the free dimension that a body of this size has."""
    free = shape.count(-1)
    if free > 1:
        raise _impossible(f"its shape {list(spec.shape)} has several free dimensions")
    fixed = prod(n for n in shape if n != -1) * spec.datatype.itemsize
    count = size // fixed if free and fixed else 1
    if fixed * count != size:
        what = f"a multiple of {fixed}" if free else f"{fixed}"
        raise InvalidRequest(
            f"input {spec.name!r} of shape {list(shape)} and type {spec.datatype.name} takes {what} bytes, got {size}",
            reason="shape_data_mismatch",
        )
    return tuple(count if n == -1 else n for n in shape)


def _impossible(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"a body without a JSON header does not tell what the model's inputs are: {why}", reason="raw_not_possible"
    )
