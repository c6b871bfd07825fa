"""Tensors in shared memory: what a message says of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from changeover.errors import InvalidRequest
from changeover.protocol.oip import Place
from changeover.protocol.oip_binary import decode, encode_response
from changeover.protocol.oip_places import Placed, place_of, place_parameters
from changeover.tensors import Datatype, Tensor


def there(region: object = "r", size: object = 16, **more: object) -> dict[str, object]:
    """The parameters of a tensor that is elsewhere."""
    return {"shared_memory_region": region, "shared_memory_byte_size": size, **more}


def body(parameters: dict[str, object], **more: Any) -> memoryview:
    """A request with one input of four floats, or as `more` says."""
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": parameters} | more.pop("tensor", {})
    return memoryview(json.dumps({"inputs": [tensor], **more}).encode())


def test_places_go_there_and_back() -> None:
    """Region, size, and an offset that is 0 where it is not said."""
    assert place_of({"binary_data_size": 3}, "x") is None
    assert place_of(there(), "x") == Place("r", 0, 16)
    place = place_of(there(shared_memory_offset=8.0), "x")
    assert place == Place("r", 8, 16)
    assert place_of(place_parameters(Place("r", 8, 16)), "x") == place
    assert place_parameters(Place("r", 0, 16)) == there()


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"shared_memory_region": "r"}, "missing_field"),
        ({"shared_memory_byte_size": 4}, "missing_field"),
        (there(region=3), "wrong_type"),
        (there(size=-1), "wrong_type"),
        (there(size=True), "wrong_type"),
        (there(shared_memory_offset="0"), "wrong_type"),
        (there(shared_memory_offset=1 << 62), "wrong_type"),
    ],
)
def test_half_a_place_is_refused(parameters: dict[str, object], reason: str) -> None:
    """And numbers that are none."""
    with pytest.raises(InvalidRequest) as refused:
        place_of(parameters, "inputs[0]")
    assert refused.value.reason == reason
    assert "inputs[0].parameters.shared_memory" in refused.value.message


def test_an_input_elsewhere_has_no_data_yet() -> None:
    """The request says where it is; an output elsewhere is never asked for in the message."""
    outputs = [{"name": "y", "parameters": {**there(), "binary_data": True}}]
    request = decode(body(there(), outputs=outputs), None)
    assert request.places == ((0, Place("r", 0, 16)),)
    assert (request.inputs[0].shape, bytes(request.inputs[0].data)) == ((1, 4), b"")
    assert request.outputs is not None
    assert (request.outputs[0].place, request.outputs[0].binary) == (Place("r", 0, 16), False)
    assert decode(body({}, tensor={"data": [1, 2, 3, 4]}), None).places == ()


@pytest.mark.parametrize(
    ("parameters", "tensor", "reason"),
    [
        (there(size=12), {}, "shape_data_mismatch"),
        (there(size=20), {}, "shape_data_mismatch"),
        (there(size=15), {"datatype": "BYTES"}, "shape_data_mismatch"),
        (there(), {"data": [1, 2, 3, 4]}, "conflicting_data"),
        (there(binary_data_size=16), {}, "conflicting_data"),
    ],
)
def test_a_size_that_is_not_the_shapes_is_refused(
    parameters: dict[str, object], tensor: dict[str, object], reason: str
) -> None:
    """As is data in two places."""
    with pytest.raises(InvalidRequest) as refused:
        decode(body(parameters, tensor=tensor), None)
    assert refused.value.reason == reason


def test_an_answer_says_where_its_outputs_are() -> None:
    """Beside outputs in the message, in either form."""
    placed = Placed("y", Datatype.FP32, (1, 2), b"", Place("r", 8, 8))
    raw = Tensor("z", Datatype.INT8, (2,), b"\x01\x02")
    chunks, length = encode_response("m", "1", "", [placed, raw], [False, True])
    head = json.loads(bytes(chunks[0]))
    assert length == len(chunks[0])
    assert head["outputs"][0] == {
        "name": "y",
        "datatype": "FP32",
        "shape": [1, 2],
        "parameters": {"shared_memory_region": "r", "shared_memory_offset": 8, "shared_memory_byte_size": 8},
    }
    assert chunks[1:] == [b"\x01\x02"]
    chunks, length = encode_response("m", "1", "", [placed], [False])
    assert (length, len(chunks)) == (None, 1)
