"""Requests and responses of gRPC: round trips against protobuf's own classes, views, places and streams."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from changeover.errors import InvalidRequest
from changeover.protocol.oip import Place
from changeover.protocol.oip_grpc import (
    Cut,
    encode_head,
    encode_response,
    stream_error,
    stream_response,
)
from changeover.protocol.oip_grpc_messages import as_parameters
from changeover.protocol.oip_grpc_wire import write_bytes, write_prefix, write_text, write_varint
from changeover.protocol.oip_places import Placed, place_parameters
from changeover.tensors import Datatype, Tensor, from_numpy, join_bytes
from tests.protocol.grpc_messages import message
from tests.protocol.grpc_requests import Request, Response, asked, given_parameters, one, place, placed

SHAPES = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
LISTS = {
    Datatype.BOOL: "bool_contents",
    **dict.fromkeys([Datatype.INT8, Datatype.INT16, Datatype.INT32], "int_contents"),
    Datatype.INT64: "int64_contents",
    **dict.fromkeys([Datatype.UINT8, Datatype.UINT16, Datatype.UINT32], "uint_contents"),
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}


@st.composite
def tensors(draw: st.DrawFn, datatypes: list[Datatype] = list(Datatype)) -> Tensor:  # noqa: B006 - never changed
    """A tensor of any datatype, with any bits."""
    datatype, shape = draw(st.sampled_from(datatypes)), draw(SHAPES)
    count = int(np.prod(shape))
    if datatype is Datatype.BYTES:
        items = draw(st.lists(st.binary(max_size=200), min_size=count, max_size=count))
        return Tensor("x", datatype, shape, join_bytes(items))
    size = count * datatype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    return Tensor("x", datatype, shape, bytes(b & 1 for b in data) if datatype is Datatype.BOOL else data)


PARAMETERS = st.dictionaries(
    st.text(max_size=4).filter(lambda name: name != "shared_memory_region"),
    st.one_of(
        st.booleans().map(lambda value: {"bool_param": value}),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: {"int64_param": value}),
        st.text(max_size=9).map(lambda value: {"string_param": value}),
        st.floats(allow_nan=False).map(lambda value: {"double_param": value}),
        st.integers(0, 2**64 - 1).map(lambda value: {"uint64_param": value}),
    ),
    max_size=3,
)


@given(st.lists(tensors(), max_size=3), PARAMETERS, st.lists(PARAMETERS, max_size=3), st.text(max_size=5), st.data())
def test_raw_requests_come_through(
    inputs: list[Tensor], own: dict[str, Any], wanted: list[dict[str, Any]], request_id: str, data: st.DataObject
) -> None:
    """What protobuf's own classes write is read: tensors of every datatype, parameters of every kind, outputs."""
    model, version = data.draw(st.text(max_size=5)), data.draw(st.text(max_size=5))
    request = Request(model_name=model, model_version=version, id=request_id)
    parameters = given_parameters(request.parameters, own)
    for index, tensor in enumerate(inputs):
        request.inputs.add(name=f"x{index}", datatype=tensor.datatype.name, shape=tensor.shape)
        request.raw_input_contents.append(bytes(tensor.data))
    outputs = [
        (f"y{i}", given_parameters(request.outputs.add(name=f"y{i}").parameters, it)) for i, it in enumerate(wanted)
    ]
    found = asked(request)
    assert (found.model, found.version, found.request.id) == (model, version, request_id)
    assert found.request.parameters == parameters
    assert [(o.name, o.parameters, o.binary) for o in found.request.outputs or ()] == [(*o, True) for o in outputs]
    assert [(t.name, t.datatype, t.shape, bytes(t.data)) for t in found.request.inputs] == [
        (f"x{index}", tensor.datatype, tensor.shape, tensor.data) for index, tensor in enumerate(inputs)
    ]
    assert Cut(memoryview(request.SerializeToString())).route() == (model, version)


@given(tensors(list(LISTS)))
def test_typed_contents_become_raw(tensor: Tensor) -> None:
    """The elements of a typed list are the raw bytes that the same array has."""
    values = tensor.numpy().reshape(-1).tolist()
    request = one(tensor.datatype.name, tensor.shape, **{LISTS[tensor.datatype]: values})
    request.inputs[0].contents.SetInParent()
    expected = tensor.numpy()
    found = asked(request).request.inputs[0].numpy()
    assert found.shape == expected.shape
    equal = found == expected
    if tensor.datatype in (Datatype.FP32, Datatype.FP64):
        equal |= np.isnan(found) & np.isnan(expected)
    assert np.all(equal)


@given(st.lists(tensors(), max_size=3), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_responses_come_through(outputs: list[Tensor], model: str, version: str, request_id: str) -> None:
    """Protobuf's own classes read what is written here."""
    chunks = encode_response(model, version, request_id, outputs)
    response = Response.FromString(b"".join(chunks))
    assert (response.model_name, response.model_version, response.id) == (model, version, request_id)
    described = [(o.name, o.datatype, tuple(o.shape)) for o in response.outputs]
    assert described == [(t.name, t.datatype.name, t.shape) for t in outputs]
    assert list(response.raw_output_contents) == [bytes(t.data) for t in outputs]


def test_tensors_in_shared_memory() -> None:
    """Inputs there have no raw contents, outputs there have empty ones; both say where they are."""
    request = one("INT8", (2,), raw=b"\1\2")
    given_parameters(request.inputs.add(name="z", datatype="FP32", shape=[3]).parameters, place("in", 12, 8))
    request.inputs.add(name="last", datatype="INT8", shape=[1])
    request.raw_input_contents.append(b"\3")
    given_parameters(request.outputs.add(name="y").parameters, place("out", 100))
    found = asked(request).request
    assert [bytes(tensor.data) for tensor in found.inputs] == [b"\1\2", b"", b"\3"]
    assert list(found.places) == [(1, Place("in", 8, 12))]
    assert found.outputs is not None
    assert (found.outputs[0].place, found.outputs[0].binary) == (Place("out", 0, 100), False)
    alone = asked(placed(4)).request
    assert (list(alone.places), bytes(alone.inputs[0].data)) == ([(0, Place("r", 0, 4))], b"")
    elsewhere = Placed("y", Datatype.FP32, (2,), b"", Place("out", 16, 8))
    for outputs in ([elsewhere, from_numpy("n", np.ones(1, np.int8))], [Tensor("y", Datatype.FP32, (2,), bytes(8))]):
        response = Response.FromString(b"".join(encode_response("m", "1", "", outputs)))
        assert [len(raw) for raw in response.raw_output_contents] == [len(output.data) for output in outputs]
        told = {name: it.string_param or it.int64_param for name, it in response.outputs[0].parameters.items()}
        assert told == (place_parameters(elsewhere.place) if outputs[0] is elsewhere else {})


def test_a_stream_says_answers_and_errors() -> None:
    """A message of a stream has an answer, or a sentence and the id of the request that it is about."""
    streamed = message("inference.ModelStreamInferResponse")
    output = Tensor("y", Datatype.UINT8, (300,), bytes(300))
    answer = encode_response("m", "1", "r", [output], {"triton_final_response": True})
    chunks = stream_response(answer)
    read = streamed.FromString(b"".join(chunks))
    assert read.error_message == ""
    assert read.infer_response == Response.FromString(b"".join(answer))
    assert read.infer_response.parameters["triton_final_response"].bool_param
    assert chunks[-1] is output.data
    told = {"model_name": "m", "id": "r", "parameters": as_parameters({"reason": "gone"})}
    failed = streamed.FromString(stream_error("no such model", told))
    assert (failed.error_message, failed.infer_response.model_name, failed.infer_response.id) == (
        "no such model", "m", "r"
    )  # fmt: skip
    assert failed.infer_response.parameters["reason"].string_param == "gone"


def test_raw_bytes_are_not_copied() -> None:
    """An input is a view of the body, typed floats too; an output goes out as the very data it is."""
    array = np.arange(400, dtype=np.float32)
    for request in (one(shape=(400,), raw=array.tobytes()), one(shape=(400,), fp32_contents=array.tolist())):
        body = np.frombuffer(request.SerializeToString(), np.uint8)
        found = Cut(body.data).decode().request.inputs[0].data
        assert np.array_equal(np.frombuffer(found, np.float32), array)
        assert np.shares_memory(np.frombuffer(found, np.uint8), body)
    chunks = encode_response("m", "1", "", [from_numpy("y", array)])
    assert np.shares_memory(np.frombuffer(chunks[-1], np.float32), array)


def test_a_kept_head_gives_fresh_requests() -> None:
    """A head that is kept parsed must not carry one request's tensors, or its id, into the next."""
    requests = [one("INT8", raw=raw) for raw in (b"\1", b"\2")]
    requests[0].id, requests[1].id = "a", "b"
    first, second = (asked(request).request for request in requests)
    assert [bytes(r.inputs[0].data) for r in (first, second)] == [b"\1", b"\2"]
    assert (first.id, second.id) == ("a", "b")
    assert first.inputs is not second.inputs
    assert encode_head("m", "1", ()) is encode_head("m", "1", ())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "4"]), st.binary(min_size=4, max_size=4))))
def test_messages_of_one_size_keep_apart(messages: list[tuple[str, str, bytes]]) -> None:
    """Each is cut in the place where the last one of its size was, and has its own model, version, id and data."""
    for at, (model, version, data) in enumerate(messages):
        request = one(raw=data)
        request.model_name, request.model_version, request.id = model, version, "i" * (at % 2)
        found = asked(request)
        assert (found.model, found.version, found.request.id) == (model, version, "i" * (at % 2))
        assert [bytes(tensor.data) for tensor in found.request.inputs] == [data]
        assert Cut(memoryview(request.SerializeToString())).route() == (model, version)


def test_a_message_that_ends_with_another_field_is_no_pattern() -> None:
    """An empty id behind the tensor, twice the same message, and then one that has a longer tensor in its place."""
    body = one(raw=b"1234").SerializeToString()
    for behind in (write_text(3, ""), write_text(99, "")):
        for _ in range(2):
            found = Cut(memoryview(body + behind)).decode()
            assert [bytes(tensor.data) for tensor in found.request.inputs] == [b"1234"]
    with pytest.raises(InvalidRequest):
        Cut(memoryview(one(raw=b"123456").SerializeToString())).decode()


def test_fields_in_any_order_and_place() -> None:
    """Raw tensors may stand between the inputs, texts that come again replace, what nobody knows is skipped."""
    inputs = [write_bytes(5, write_text(1, name) + write_text(2, "INT8") + write_bytes(3, b"\1")) for name in "ab"]
    unknown = write_text(99, "x") + write_varint(98 << 3) + b"\5" + write_varint(97 << 3 | 5) + bytes(4)
    unknown += write_varint(96 << 3 | 1) + bytes(8)
    body = write_bytes(7, b"\7") + inputs[0] + write_text(1, "old") + write_text(3, "first") + write_bytes(7, b"\x08")
    body += unknown + inputs[1] + write_text(3, "second") + write_text(1, "new") + write_text(2, "4")
    found = Cut(memoryview(body)).decode()
    assert (found.model, found.version, found.request.id) == ("new", "4", "second")
    assert [(t.name, bytes(t.data)) for t in found.request.inputs] == [("a", b"\7"), ("b", b"\x08")]
    assert Cut(memoryview(body)).route() == ("new", "4")


def test_no_outputs_means_all() -> None:
    """Nobody asks for no output."""
    assert asked(one("INT8", raw=b"\0")).request.outputs is None


def test_unpacked_and_split_lists() -> None:
    """Numbers each in a field of their own, in several lists and in several contents follow each other."""
    floats = [struct.pack("<f", value) for value in (1, 2, 3, 4, 5)]
    one = write_varint(6 << 3 | 5)
    contents = [one + floats[0] + write_bytes(6, floats[1] + floats[2]), one + floats[3] + write_bytes(6, floats[4])]
    head = write_text(1, "x") + write_text(2, "FP32") + write_varint(3 << 3) + b"\5"
    body = write_bytes(5, head + b"".join(write_bytes(5, part) for part in contents))
    assert Cut(memoryview(body)).decode().request.inputs[0].numpy().tolist() == [1, 2, 3, 4, 5]
    whole = Request.FromString(body)
    assert list(whole.inputs[0].contents.fp32_contents) == [1, 2, 3, 4, 5]


def test_the_prefix_of_a_large_tensor() -> None:
    """A tensor of 4 MiB is told with its whole length."""
    chunks = encode_response("m", "1", "", [Tensor("y", Datatype.UINT8, (1 << 22,), bytes(1 << 22))])
    assert bytes(chunks[-2]).endswith(write_prefix(6, 1 << 22))
    assert len(Response.FromString(b"".join(chunks)).raw_output_contents[0]) == 1 << 22
