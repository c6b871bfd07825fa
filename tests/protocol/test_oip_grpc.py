"""Requests and responses of gRPC: round trips against protobuf's own classes, views, refusals and garbage."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from changeover.errors import CallerError, InvalidRequest, TooLarge
from changeover.protocol.oip import MAX_BYTES_ELEMENTS, MAX_PARAMETERS, MAX_TENSORS, Place
from changeover.protocol.oip_grpc import (
    GrpcAsked,
    decode,
    encode_head,
    encode_response,
    route_of,
    stream_error,
    stream_response,
)
from changeover.protocol.oip_grpc_messages import as_parameters
from changeover.protocol.oip_grpc_wire import MAX_FIELDS, write_bytes, write_prefix, write_text, write_varint
from changeover.protocol.oip_places import Placed, place_parameters
from changeover.tensors import Datatype, Tensor, from_numpy, join_bytes
from tests.protocol.grpc_messages import message

Request, Response = message("inference.ModelInferRequest"), message("inference.ModelInferResponse")
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
NUMBERS = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


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


def _set(parameters: Any, values: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give a message its parameters; gives what they are as plain values."""
    for name, choice in values.items():
        for field, value in choice.items():
            setattr(parameters[name], field, value)
    return {name: next(iter(choice.values())) for name, choice in values.items()}


def _asked(request: Any) -> GrpcAsked:
    return decode(memoryview(request.SerializeToString()))


def _one(datatype: str = "FP32", shape: tuple[int, ...] = (1,), raw: bytes | None = None, **contents: Any) -> Any:
    request = Request(model_name="m")
    given = request.inputs.add(name="x", datatype=datatype, shape=shape)
    if raw is not None:
        request.raw_input_contents.append(raw)
    for name, values in contents.items():
        getattr(given.contents, name).extend(values)
    return request


@given(st.lists(tensors(), max_size=3), PARAMETERS, st.lists(PARAMETERS, max_size=3), st.text(max_size=5), st.data())
def test_raw_requests_come_through(
    inputs: list[Tensor], own: dict[str, Any], wanted: list[dict[str, Any]], request_id: str, data: st.DataObject
) -> None:
    """What protobuf's own classes write is read: tensors of every datatype, parameters of every kind, outputs."""
    model, version = data.draw(st.text(max_size=5)), data.draw(st.text(max_size=5))
    request = Request(model_name=model, model_version=version, id=request_id)
    parameters = _set(request.parameters, own)
    for index, tensor in enumerate(inputs):
        request.inputs.add(name=f"x{index}", datatype=tensor.datatype.name, shape=tensor.shape)
        request.raw_input_contents.append(bytes(tensor.data))
    outputs = [(f"y{i}", _set(request.outputs.add(name=f"y{i}").parameters, it)) for i, it in enumerate(wanted)]
    asked = _asked(request)
    assert (asked.model, asked.version, asked.request.id) == (model, version, request_id)
    assert asked.request.parameters == parameters
    assert [(o.name, o.parameters, o.binary) for o in asked.request.outputs or ()] == [(*o, True) for o in outputs]
    assert [(t.name, t.datatype, t.shape, bytes(t.data)) for t in asked.request.inputs] == [
        (f"x{index}", tensor.datatype, tensor.shape, tensor.data) for index, tensor in enumerate(inputs)
    ]
    assert route_of(memoryview(request.SerializeToString())) == (model, version)


@given(tensors(list(LISTS)))
def test_typed_contents_become_raw(tensor: Tensor) -> None:
    """The elements of a typed list are the raw bytes that the same array has."""
    values = tensor.numpy().reshape(-1).tolist()
    request = _one(tensor.datatype.name, tensor.shape, **{LISTS[tensor.datatype]: values})
    request.inputs[0].contents.SetInParent()
    expected = tensor.numpy()
    found = _asked(request).request.inputs[0].numpy()
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
    request = _one("INT8", (2,), raw=b"\1\2")
    _set(request.inputs.add(name="z", datatype="FP32", shape=[3]).parameters, _place("in", 12, 8))
    request.inputs.add(name="last", datatype="INT8", shape=[1])
    request.raw_input_contents.append(b"\3")
    _set(request.outputs.add(name="y").parameters, _place("out", 100))
    asked = _asked(request).request
    assert [bytes(tensor.data) for tensor in asked.inputs] == [b"\1\2", b"", b"\3"]
    assert list(asked.places) == [(1, Place("in", 8, 12))]
    assert asked.outputs is not None
    assert (asked.outputs[0].place, asked.outputs[0].binary) == (Place("out", 0, 100), False)
    alone = _asked(_placed(4)).request
    assert (list(alone.places), bytes(alone.inputs[0].data)) == ([(0, Place("r", 0, 4))], b"")
    placed = Placed("y", Datatype.FP32, (2,), b"", Place("out", 16, 8))
    for outputs in ([placed, from_numpy("n", np.ones(1, np.int8))], [Tensor("y", Datatype.FP32, (2,), bytes(8))]):
        response = Response.FromString(b"".join(encode_response("m", "1", "", outputs)))
        assert [len(raw) for raw in response.raw_output_contents] == [len(output.data) for output in outputs]
        told = {name: it.string_param or it.int64_param for name, it in response.outputs[0].parameters.items()}
        assert told == (place_parameters(placed.place) if outputs[0] is placed else {})


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
    for request in (_one(shape=(400,), raw=array.tobytes()), _one(shape=(400,), fp32_contents=array.tolist())):
        body = np.frombuffer(request.SerializeToString(), np.uint8)
        found = decode(body.data).request.inputs[0].data
        assert np.array_equal(np.frombuffer(found, np.float32), array)
        assert np.shares_memory(np.frombuffer(found, np.uint8), body)
    chunks = encode_response("m", "1", "", [from_numpy("y", array)])
    assert np.shares_memory(np.frombuffer(chunks[-1], np.float32), array)


def test_a_kept_head_gives_fresh_requests() -> None:
    """A head that is kept parsed must not carry one request's tensors, or its id, into the next."""
    requests = [_one("INT8", raw=raw) for raw in (b"\1", b"\2")]
    requests[0].id, requests[1].id = "a", "b"
    first, second = (_asked(request).request for request in requests)
    assert [bytes(r.inputs[0].data) for r in (first, second)] == [b"\1", b"\2"]
    assert (first.id, second.id) == ("a", "b")
    assert first.inputs is not second.inputs
    assert encode_head("m", "1", ()) is encode_head("m", "1", ())


def test_fields_in_any_order_and_place() -> None:
    """Raw tensors may stand between the inputs, texts that come again replace, what nobody knows is skipped."""
    inputs = [write_bytes(5, write_text(1, name) + write_text(2, "INT8") + write_bytes(3, b"\1")) for name in "ab"]
    unknown = write_text(99, "x") + write_varint(98 << 3) + b"\5" + write_varint(97 << 3 | 5) + bytes(4)
    unknown += write_varint(96 << 3 | 1) + bytes(8)
    body = write_bytes(7, b"\7") + inputs[0] + write_text(1, "old") + write_text(3, "first") + write_bytes(7, b"\x08")
    body += unknown + inputs[1] + write_text(3, "second") + write_text(1, "new") + write_text(2, "4")
    asked = decode(memoryview(body))
    assert (asked.model, asked.version, asked.request.id) == ("new", "4", "second")
    assert [(t.name, bytes(t.data)) for t in asked.request.inputs] == [("a", b"\7"), ("b", b"\x08")]
    assert route_of(memoryview(body)) == ("new", "4")


def test_no_outputs_means_all() -> None:
    """Nobody asks for no output."""
    assert _asked(_one("INT8", raw=b"\0")).request.outputs is None


def _with(change: Any, request: Any) -> Any:
    change(request)
    return request


def _place(region: str, size: int, offset: int = 0) -> dict[str, dict[str, Any]]:
    """The parameters with which tritonclient tells where a tensor is."""
    place = {"shared_memory_region": {"string_param": region}, "shared_memory_byte_size": {"int64_param": size}}
    return place | ({"shared_memory_offset": {"int64_param": offset}} if offset else {})


def _placed(size: int, datatype: str = "FP32", **more: Any) -> Any:
    """A request whose only input is in shared memory."""
    return _with(lambda request: _set(request.inputs[0].parameters, _place("r", size)), _one(datatype, **more))


REFUSED = [
    (_one(raw=b"123"), "shape_data_mismatch"),
    (_one(raw=b"12345"), "shape_data_mismatch"),
    (_one(shape=(2**40,), raw=b"1234"), "shape_data_mismatch"),
    (_one(shape=(2**40,), fp32_contents=[1.0]), "shape_data_mismatch"),
    (_one(shape=(2**40,), datatype="INT64", int64_contents=[1]), "shape_data_mismatch"),
    (_one(shape=(2,), fp32_contents=[1.0]), "shape_data_mismatch"),
    (_one("BYTES", (2,), bytes_contents=[b"a"]), "shape_data_mismatch"),
    (_one("BYTES", (1,), bytes_contents=[b"a", b"b"]), "shape_data_mismatch"),
    (_one("BYTES", (1,), raw=b"123"), "shape_data_mismatch"),
    (_one("BYTES", (1,), raw=b"\2\0\0\0a"), "malformed_bytes"),
    (_one("BYTES", (1,), raw=b"\xff\xff\xff\xff"), "malformed_bytes"),
    (_one("BOOL", raw=b"\2"), "value_out_of_range"),
    (_one("INT8", int_contents=[128]), "value_out_of_range"),
    (_one("INT8", int_contents=[-129]), "value_out_of_range"),
    (_one("UINT16", uint_contents=[2**16]), "value_out_of_range"),
    (_one("FP32", fp64_contents=[1.0]), "wrong_type"),
    (_one("FP32", fp32_contents=[1.0], int_contents=[1]), "wrong_type"),
    (_one("FP16", fp32_contents=[1.0]), "wrong_type"),
    (_one("BF16", fp32_contents=[1.0]), "wrong_type"),
    (_one(), "missing_field"),
    (_one(raw=b"1234", fp32_contents=[1.0]), "conflicting_data"),
    (_with(lambda r: r.inputs[0].contents.SetInParent(), _one(raw=b"1234")), "conflicting_data"),
    (_with(lambda r: r.raw_input_contents.append(b""), _one(raw=b"1234")), "binary_size_mismatch"),
    (_with(lambda r: r.inputs.add(name="z", datatype="INT8", shape=[1]), _one(raw=b"1234")), "binary_size_mismatch"),
    (_with(lambda r: r.inputs.append(r.inputs[0]), _one(raw=b"1234")), "duplicate_input"),
    (_with(lambda r: [r.outputs.add(name="y") for _ in range(2)], _one(raw=b"1234")), "duplicate_output"),
    (_one("FP8", raw=b"1"), "unknown_datatype"),
    (_one("", raw=b"1"), "unknown_datatype"),
    (_one(shape=(-1,), raw=b"1234"), "invalid_shape"),
    (_one(shape=(1,) * 61, raw=b"1234"), "invalid_shape"),
    (_one(shape=(2**62, 2**62, 0), raw=b""), "invalid_shape"),
    (_with(lambda r: r.parameters["a"].SetInParent(), _one(raw=b"1234")), "wrong_type"),
    (_placed(4, raw=b"1234"), "binary_size_mismatch"),
    (_placed(4, fp32_contents=[1.0]), "conflicting_data"),
    (_placed(3), "shape_data_mismatch"),
    (_placed(5), "shape_data_mismatch"),
    (_placed(3, "BYTES"), "shape_data_mismatch"),
    (_placed(-1), "wrong_type"),
    (_with(lambda r: _set(r.inputs[0].parameters, {"shared_memory_region": {"string_param": "r"}}), _one()),
     "missing_field"),
    (_with(lambda r: _set(r.outputs.add(name="y").parameters, {"shared_memory_region": {"string_param": "r"}}),
           _one(raw=b"1234")), "missing_field"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_refused(request_: Any, reason: str) -> None:
    """Every lie about sizes, types and places has the reason it has over HTTP, also when its head is kept."""
    for _ in range(2):
        with pytest.raises(InvalidRequest) as error:
            _asked(request_)
        assert error.value.reason == reason


def _many_bytes(count: int) -> Any:
    request = _one("BYTES", (MAX_BYTES_ELEMENTS,), raw=bytes(4 * MAX_BYTES_ELEMENTS))
    request.inputs.add(name="z", datatype="BYTES", shape=[count])
    request.raw_input_contents.append(bytes(4 * count))
    return request


def _many_tensors(count: int) -> Any:
    request = Request()
    for index in range(count):
        request.inputs.add(name=str(index), datatype="INT8", shape=[0])
        request.outputs.add(name=str(index))
        request.raw_input_contents.append(b"")
    return request


def _many_parameters(count: int) -> Any:
    request = _one("INT8", raw=b"\0")
    _set(request.parameters, {str(index): {"bool_param": True} for index in range(count)})
    return request


@pytest.mark.parametrize(
    ("make", "most", "reason"),
    [
        (_many_bytes, 0, "too_many_elements"),
        (_many_tensors, MAX_TENSORS, "too_many_tensors"),
        (_many_parameters, MAX_PARAMETERS, "too_many_parameters"),
    ],
)
def test_limits(make: Any, most: int, reason: str) -> None:
    """What is at a limit is taken, one more is refused as too large."""
    assert _asked(make(most)).request.inputs
    with pytest.raises(TooLarge) as error:
        _asked(make(most + 1))
    assert error.value.reason == reason


@pytest.mark.parametrize("read", [decode, route_of])
@pytest.mark.parametrize("number", [2, 7, 99])
def test_a_flood_of_fields_is_refused(read: Any, number: int) -> None:
    """A message of more fields than any request needs is refused before all of them were walked over."""
    with pytest.raises(TooLarge) as error:
        read(memoryview(write_bytes(number, b"") * (MAX_FIELDS + 1)))
    assert error.value.reason == "too_many_fields"
    assert route_of(memoryview(write_bytes(number, b"") * MAX_FIELDS)) == ("", "")


WRONG_WIRE = [
    b"\x0a",  # no length
    b"\x0a\x05abc",  # too short
    b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # 2**64 - 1 bytes
    b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",  # a length of eleven bytes
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",  # a tag that does not end
    b"\x00\x00",  # field 0
    b"\x8b\x01",  # a group begins
    b"\x8c\x01",  # a group ends
    b"\x0e\x00",  # form 6
    b"\x08\x01",  # a model's name as a number
    b"\x0a\x02\xff\xfe",  # no UTF-8
    b"\x95\x06abc",  # a fixed32 of three bytes
    b"\x91\x06abc",  # a fixed64 of three bytes
]


@pytest.mark.parametrize("read", [decode, route_of])
@pytest.mark.parametrize("body", WRONG_WIRE, ids=bytes.hex)
def test_malformed_bytes_are_refused(read: Any, body: bytes) -> None:
    """Bytes that are no message, at its outermost level, before and after good ones."""
    for whole in (body, write_text(2, "1") + body):
        with pytest.raises(InvalidRequest) as error:
            read(memoryview(whole))
        assert error.value.reason == "malformed_protobuf"


def _contents(datatype: str, shape: bytes, contents: bytes) -> bytes:
    return write_bytes(5, write_text(1, "x") + write_text(2, datatype) + shape + write_bytes(5, contents))


@pytest.mark.parametrize(
    "body",
    [
        b"\x18\x01",  # id as a number
        b"\x38\x01",  # raw contents as a number
        b"\x1a\x01\xff",  # id is no UTF-8
        write_bytes(5, b"\x0a\x05ab"),  # an input ends inside its name
        write_bytes(5, b"\x08\x01"),  # its name is a number
        write_bytes(5, b"\x28\x01"),  # its contents are a number
        write_bytes(5, b"\x1a\x01\x80"),  # its shape ends inside a number
        write_bytes(4, b"\x10\x01"),  # a parameter's value is a number
        _contents("FP32", b"\x18\x01", b"\x32\x03abc"),  # a packed list ends inside a number
        _contents("FP32", b"\x18\x00", b"\x30\x03"),  # a float is a varint
        _contents("INT8", b"\x18\x00", b"\x12\x01\x80"),  # a number does not end
        _contents("INT8", b"\x18\x01", b"\x12\x0b" + b"\x80" * 10 + b"\1"),  # a number of eleven bytes
    ],
    ids=bytes.hex,
)
def test_malformed_bytes_inside_are_refused(body: bytes) -> None:
    """Bytes that are no message, inside an input, a parameter or a list."""
    with pytest.raises(InvalidRequest) as error:
        decode(memoryview(body))
    assert error.value.reason in ("malformed_protobuf", "shape_data_mismatch")


GOOD = [request.SerializeToString() for request, _ in REFUSED] + [
    _one("INT64", (3,), int64_contents=[1, -1, 2**62]).SerializeToString(),
    _one("BYTES", (2,), bytes_contents=[b"abc", b""]).SerializeToString(),
    _many_parameters(2).SerializeToString(),
    _many_tensors(3).SerializeToString(),
]


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=60), st.sampled_from(GOOD)), st.data())
def test_garbage_only_raises_our_errors(body: bytes, data: st.DataObject) -> None:
    """Random bytes, and good messages with some bytes changed, are read as protobuf reads them, or refused."""
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    outcomes = []
    for read in (decode, route_of):
        try:
            outcomes.append(read(memoryview(bytes(changed)))[:2])
        except CallerError:
            outcomes.append(None)
    assert outcomes[0] in (None, outcomes[1])
    if outcomes[0] is not None:
        with contextlib.suppress(DecodeError):  # it takes no tags and lengths that are padded to over five bytes
            peer = Request.FromString(bytes(changed))
            assert outcomes[0] == (peer.model_name, peer.model_version)


@pytest.mark.parametrize(
    "request_",
    [
        _one("FP32", (2**22,), raw=bytes(2**24)),
        _one("INT8", (2**24,), int_contents=bytes(2**24)),
        _one("BOOL", (2**24,), bool_contents=bytes(2**24)),
        _one("FP32", (2**40,), raw=bytes(2**24)),
        _one("INT64", (2**40,), int64_contents=bytes(2**24)),
        _one("BYTES", (2**16,), bytes_contents=[b""] * 2**16),
    ],
    ids=["raw", "INT8", "BOOL", "raw lie", "INT64 lie", "BYTES"],
)
def test_memory_is_bounded_by_the_body(request_: Any) -> None:
    """Reading a request takes little more memory than its body has, whatever its shape says."""
    body = memoryview(request_.SerializeToString())
    tracemalloc.start()
    try:
        decode(body)
    except InvalidRequest:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2.6 * len(body)


def test_unpacked_and_split_lists() -> None:
    """Numbers each in a field of their own, in several lists and in several contents follow each other."""
    floats = [struct.pack("<f", value) for value in (1, 2, 3, 4, 5)]
    one = write_varint(6 << 3 | 5)
    contents = [one + floats[0] + write_bytes(6, floats[1] + floats[2]), one + floats[3] + write_bytes(6, floats[4])]
    head = write_text(1, "x") + write_text(2, "FP32") + write_varint(3 << 3) + b"\5"
    body = write_bytes(5, head + b"".join(write_bytes(5, part) for part in contents))
    assert decode(memoryview(body)).request.inputs[0].numpy().tolist() == [1, 2, 3, 4, 5]
    whole = Request.FromString(body)
    assert list(whole.inputs[0].contents.fp32_contents) == [1, 2, 3, 4, 5]


def test_the_prefix_of_a_large_tensor() -> None:
    """A tensor of 4 MiB is told with its whole length."""
    chunks = encode_response("m", "1", "", [Tensor("y", Datatype.UINT8, (1 << 22,), bytes(1 << 22))])
    assert bytes(chunks[-2]).endswith(write_prefix(6, 1 << 22))
    assert len(Response.FromString(b"".join(chunks)).raw_output_contents[0]) == 1 << 22
