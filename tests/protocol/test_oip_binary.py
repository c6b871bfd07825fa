"""Requests and responses with raw bytes: header and payload put together, and every kind of garbage."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from changeover.errors import InvalidRequest, ModelRunFailed, TooLarge
from changeover.protocol.json_text import CUT_OUT
from changeover.protocol.oip import MAX_DEPTH
from changeover.protocol.oip_binary import bind, decode, encode_header, encode_response
from changeover.protocol.oip_json import parse_header
from changeover.tensors import Datatype, Tensor, from_numpy, join_bytes


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("request_id", ["", 'a"b\\é'])
def test_the_header_of_an_answer(binary: bool, request_id: str) -> None:
    """An answer names model, version and id, and describes its outputs as the protocol says."""
    output = from_numpy("y", np.array([[0.5, 1]], np.float32))
    chunks, length = encode_response("m", "12", request_id, [output], (binary,))
    described: dict[str, Any] = {"name": "y", "datatype": "FP32", "shape": [1, 2]}
    described |= {"parameters": {"binary_data_size": 8}} if binary else {"data": [0.5, 1.0]}
    expected = {"model_name": "m", "model_version": "12", "outputs": [described]}
    assert json.loads(bytes(chunks[0])) == expected | ({"id": request_id} if request_id else {})
    assert length == (len(chunks[0]) if binary else None)


def test_an_answer_without_outputs_is_json() -> None:
    """A model may have nothing to say."""
    chunks, length = encode_response("m", "1", "", [], ())
    assert (json.loads(bytes(chunks[0]))["outputs"], length) == ([], None)


def test_raw_bytes_are_not_copied() -> None:
    """An input is a view of the body, an output goes out as the very data it is."""
    array = np.arange(4, dtype=np.float32)
    inputs = [{"name": "x", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": 16}}]
    header = json.dumps({"inputs": inputs}).encode()
    body = np.frombuffer(header + array.tobytes(), np.uint8)
    data = decode(body.data, len(header)).inputs[0].data
    assert np.shares_memory(np.frombuffer(data, np.uint8), body)
    chunks, _ = encode_response("m", "1", "", [from_numpy("y", array)], (True,))
    assert np.shares_memory(np.frombuffer(chunks[1], np.float32), array)


def test_the_same_header_gives_fresh_requests() -> None:
    """A header that is kept parsed must not carry one request's tensors into the next."""
    inputs = [{"name": "x", "datatype": "INT8", "shape": [1], "parameters": {"binary_data_size": 1}}]
    header = json.dumps({"inputs": inputs}).encode()
    first, second = (decode(memoryview(header + value), len(header)) for value in (b"\1", b"\2"))
    assert (bytes(first.inputs[0].data), bytes(second.inputs[0].data)) == (b"\1", b"\2")
    assert first.inputs is not second.inputs
    with pytest.raises(TypeError):
        first.parameters["timeout"] = 1  # type: ignore[index]


def test_encode_header_is_a_function_of_its_arguments() -> None:
    """Equal layouts share the bytes of one header; another version has its own."""
    layout = (("y", Datatype.FP32, (1, 10), 40),)
    assert encode_header("m", "1", layout) is encode_header("m", "1", (*layout,))
    assert encode_header("m", "2", layout) != encode_header("m", "1", layout)


def _body(size: int, payload: bytes, **members: Any) -> tuple[memoryview, int]:
    given = {"name": "x", "datatype": "FP32", "shape": [1]} | members
    given["parameters"] = {"binary_data_size": size}
    header = json.dumps({"inputs": [given]}).encode()
    return memoryview(header + payload), len(header)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (_body(4, b"123"), "binary_size_mismatch"),
        (_body(4, b"12345"), "binary_size_mismatch"),
        (_body(4, b""), "binary_size_mismatch"),
        (_body(2**40, b"", shape=[2**38]), "binary_size_mismatch"),
        (_body(2, b"\0\2", shape=[2], datatype="BOOL"), "value_out_of_range"),
        (_body(5, b"\2\0\0\0a", datatype="BYTES"), "malformed_bytes"),
        (_body(6, b"\1\0\0\0ab", datatype="BYTES"), "malformed_bytes"),
        (_body(4, b"\xff\xff\xff\xff", datatype="BYTES"), "malformed_bytes"),
        (_body(8, bytes(8), datatype="BYTES"), "malformed_bytes"),
        (_body(4, bytes(4), datatype="BYTES", shape=[0]), "malformed_bytes"),
    ],
)
def test_payloads_that_do_not_fit_are_refused(body: tuple[memoryview, int], reason: str) -> None:
    """Sizes are held against the bytes that are there, lengths of BYTES against both."""
    for _ in range(2):  # the second time with the header kept parsed
        with pytest.raises(InvalidRequest) as error:
            decode(*body)
        assert error.value.reason == reason


@pytest.mark.parametrize("length", [0, -1, 2**64, 1000])
def test_header_lengths_outside_of_the_body_are_refused(length: int) -> None:
    """The header must be inside the body and have a byte at least."""
    with pytest.raises(InvalidRequest) as error:
        decode(memoryview(b'{"inputs":[]}'), length)
    assert error.value.reason == "header_length_mismatch"


def test_binary_inputs_need_the_header_length() -> None:
    """A body without header length has no place for raw bytes."""
    with pytest.raises(InvalidRequest, match="expected 4 bytes of binary data behind the JSON header, got 0"):
        decode(_body(4, b"")[0], None)


def test_a_body_may_be_all_header() -> None:
    """A header length that is the body's is a JSON request."""
    body = b'{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[5]}]}'
    assert decode(memoryview(body), len(body)).inputs[0].data == b"\5"


def test_a_binary_output_of_no_bytes_has_nothing_behind_the_header() -> None:
    """So no length is told, as by Triton; one with bytes beside it has one."""
    empty, full = Tensor("a", Datatype.INT8, (0, 2), b""), Tensor("b", Datatype.INT8, (1,), b"x")
    (header,), length = encode_response("m", "1", "", [empty], [True])
    assert (json.loads(bytes(header))["outputs"][0]["parameters"], length) == ({"binary_data_size": 0}, None)
    chunks, length = encode_response("m", "1", "", [empty, full], [True, True])
    assert (length, bytes(chunks[-1])) == (len(chunks[0]), b"x")


def test_outputs_that_do_not_fit_their_shape_are_the_models_fault() -> None:
    """A worker's answer of the wrong size is no JSON, and not the caller's error."""
    for datatype in (Datatype.FP32, Datatype.BYTES):
        with pytest.raises(ModelRunFailed) as error:
            encode_response("m", "1", "", [Tensor("y", datatype, (2,), b"\0\0\0\0\0")], (False,))
        assert error.value.reason == "malformed_output"


def test_outputs_that_are_no_text_can_be_asked_for_in_binary() -> None:
    """Bytes that are not UTF-8 are refused as JSON and sent as raw bytes."""
    output = Tensor("y", Datatype.BYTES, (1,), join_bytes([b"\xff\0"]))
    with pytest.raises(InvalidRequest) as error:
        encode_response("m", "1", "", [output], (False,))
    assert error.value.reason == "bytes_not_utf8"
    chunks, _ = encode_response("m", "1", "", [output], (True,))
    assert chunks[1] == output.data


def _outcome(text: bytes, *, repeated: bool) -> object:
    try:
        if repeated:
            return decode(memoryview(text), None)
        return bind(parse_header(text), memoryview(b""))
    except (InvalidRequest, TooLarge) as error:
        return error.reason, error.message


_VALUES = st.lists(
    st.integers(-3, 300) | st.floats(-10, 1e39) | st.booleans() | st.sampled_from(["]", '"data":[1]', CUT_OUT])
)
_INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", '"data":[1', "]]"]),
        "shape": st.lists(st.integers(0, 3), max_size=2),
        "datatype": st.sampled_from([*Datatype.__members__, "X"]),
        "data": _VALUES | st.lists(_VALUES, max_size=2) | st.sampled_from([CUT_OUT, None, {"data": [1]}]),
        "parameters": st.sampled_from([{}, {"data": [1]}, {"binary_data_size": 4}, {"a": 2**64}]),
    },
)


_RAW = {"name": "b", "datatype": "UINT32", "shape": [], "parameters": {"binary_data_size": 4}}


@given(st.lists(_INPUTS, max_size=3), st.dictionaries(st.sampled_from(["data", "id"]), _VALUES), st.booleans())
@settings(deadline=None, max_examples=600)
@example(inputs=[_RAW, {"name": "a", "datatype": "BOOL", "shape": [], "data": []}], more={}, spaces=False)
def test_repeated_text_is_read_as_any_other(inputs: list[Any], more: dict[str, Any], spaces: bool) -> None:
    """Cutting the data out of the text gives the same request, or the same refusal, as parsing the whole."""
    document = more | {"inputs": inputs}
    text = json.dumps(document, separators=None if spaces else (",", ":")).encode()
    assert _outcome(text, repeated=True) == _outcome(text, repeated=False)


@pytest.mark.parametrize("values", [[0.5, -1.25, 3], [[0.5], [-1.25], [3]], [[[0.5, -1.25, 3]]]])
def test_repeated_text_gives_fresh_data(values: list[Any]) -> None:
    """Two requests that differ in their data alone get their own data."""
    for factor in (1, 2):
        data = (np.array(values) * factor).tolist()
        inputs = [{"name": "x", "datatype": "FP32", "shape": [3], "data": data}]
        tensor = decode(memoryview(json.dumps({"inputs": inputs}).encode()), None).inputs[0]
        assert tensor.numpy().tolist() == [0.5 * factor, -1.25 * factor, 3.0 * factor]


@pytest.mark.parametrize("depth", [MAX_DEPTH - 3, MAX_DEPTH - 2])
def test_the_depth_of_data_counts_from_the_request(depth: int) -> None:
    """Data has the depth that the request, the list of inputs and the input leave, however the text is read."""
    data = "[" * depth + "1" + "]" * depth
    text = f'{{"inputs":[{{"name":"x","datatype":"INT8","shape":[],"data":{data}}}]}}'.encode()
    outcome = _outcome(text, repeated=True)
    assert outcome == _outcome(text, repeated=False)
    assert isinstance(outcome, tuple) == (depth + 3 > MAX_DEPTH)


def _never_fails(body: bytes, header_length: int | None) -> None:
    try:
        request = decode(memoryview(body), header_length)
    except (InvalidRequest, TooLarge):
        return
    for tensor in request.inputs:
        assert tensor.numpy().shape == tensor.shape, "data and shape belong together"


@given(st.binary(max_size=300), st.none() | st.integers(-5, 310))
@settings(deadline=None, max_examples=500)
def test_any_bytes_are_a_request_or_refused(body: bytes, header_length: int | None) -> None:
    """Garbage raises nothing but the two errors of a caller."""
    _never_fails(body, header_length)


_WORDS = ["inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "binary_data_size", "id"]
_SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3)
_JSON = st.recursive(
    _SCALARS | st.sampled_from([*Datatype.__members__]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=5),
    max_leaves=25,
)


@given(_JSON, _JSON, st.binary(max_size=20), st.booleans())
@settings(deadline=None, max_examples=500)
def test_any_json_is_a_request_or_refused(one: Any, other: Any, payload: bytes, binary: bool) -> None:
    """JSON of the right words in the wrong places raises nothing but the two errors of a caller."""
    for document in (one, {"inputs": [one, other]}, {"inputs": [], "outputs": one, "parameters": other}):
        header = json.dumps(document).encode()
        _never_fails(header + payload if binary else header, len(header) if binary else None)


_GOOD = json.dumps(
    {
        "id": "é",
        "inputs": [
            {"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [[0.5, 1]]},
            {"name": "b", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 10}},
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
).encode()


@given(st.lists(st.tuples(st.integers(0, len(_GOOD) + 9), st.integers(0, 255)), max_size=6), st.integers(0, 400))
@settings(deadline=None, max_examples=500)
def test_damaged_requests_are_refused_or_read(damage: list[tuple[int, int]], cut: int) -> None:
    """A good request with bytes changed or lost raises nothing but the two errors of a caller."""
    body = bytearray(_GOOD + join_bytes([b"a", b"b"]))
    for place, value in damage:
        body[place] = value
    _never_fails(bytes(body), len(_GOOD))
    _never_fails(bytes(body[:cut]), len(_GOOD))
    _never_fails(bytes(body[: len(_GOOD)]), None)
