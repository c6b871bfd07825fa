"""Requests without a JSON header: what the size of a body tells."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.errors import InvalidRequest
from changeover.protocol.oip_raw import raw_input, raw_request
from changeover.tensors import Datatype, TensorSpec


def spec(datatype: Datatype, *shape: int) -> list[TensorSpec]:
    """One input."""
    return [TensorSpec("x", datatype, shape)]


@pytest.mark.parametrize(
    ("shape", "batchable", "values", "found"),
    [
        ((-1, 4), True, 4, (1, 4)),
        ((-1, -1), True, 6, (1, 6)),
        ((-1, 4), False, 8, (2, 4)),
        ((2, 3), False, 6, (2, 3)),
        ((), False, 1, ()),
        ((-1,), True, 1, (1,)),
        ((3, -1, 2), False, 0, (3, 0, 2)),
    ],
)
def test_the_shape_follows_from_the_size(
    shape: tuple[int, ...], batchable: bool, values: int, found: tuple[int, ...]
) -> None:
    """One row for a model with batches, and one free dimension as the bytes say; the answer is binary."""
    body = np.arange(values, dtype=np.float32).tobytes()
    tensor = raw_input(memoryview(body), spec(Datatype.FP32, *shape), batchable=batchable)
    assert (tensor.name, tensor.shape, bytes(tensor.data)) == ("x", found, body)
    request = raw_request(memoryview(body))
    assert (request.raw, request.inputs, request.outputs, request.binary_output) == (body, [], None, True)


def test_a_text_is_one_element() -> None:
    """Without the length that BYTES have elsewhere."""
    tensor = raw_input(memoryview(b"a text"), spec(Datatype.BYTES, -1, 1), batchable=True)
    assert tensor.shape == (1, 1)
    assert tensor.numpy().tolist() == [[b"a text"]]


@pytest.mark.parametrize(
    ("inputs", "batchable", "size", "reason"),
    [
        (spec(Datatype.FP32, -1, 4), True, 15, "shape_data_mismatch"),
        (spec(Datatype.FP32, -1, 4), True, 32, "shape_data_mismatch"),
        (spec(Datatype.FP32, -1, 4), False, 20, "shape_data_mismatch"),
        (spec(Datatype.FP32, -1, -1), False, 4, "raw_not_possible"),
        (spec(Datatype.BYTES, -1, 2), True, 4, "raw_not_possible"),
        (spec(Datatype.FP32, 1) * 2, False, 4, "raw_not_possible"),
        (spec(Datatype.BOOL, 3), False, 3, "value_out_of_range"),
        (spec(Datatype.FP32, 0, -1), False, 4, "shape_data_mismatch"),
    ],
)
def test_what_a_size_does_not_tell_is_refused(
    inputs: list[TensorSpec], batchable: bool, size: int, reason: str
) -> None:
    """Several inputs, several free dimensions, and bytes that are no whole elements."""
    with pytest.raises(InvalidRequest) as refused:
        raw_input(memoryview(b"\x07" * size), inputs, batchable=batchable)
    assert refused.value.reason == reason
