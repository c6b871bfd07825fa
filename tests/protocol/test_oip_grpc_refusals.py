"""What is no good request of gRPC: lies in sizes, malformed bytes, floods, garbage, and what reading them may cost."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from changeover.errors import CallerError, InvalidRequest, TooLarge
from changeover.protocol.oip import MAX_BYTES_ELEMENTS, MAX_PARAMETERS, MAX_TENSORS
from changeover.protocol.oip_grpc_wire import MAX_FIELDS, write_bytes, write_text
from tests.protocol.grpc_requests import Request, asked, changed, decode, given_parameters, one, placed, route_of


def _wanting(request: Any, classes: int) -> None:
    """Ask for `y` with so many classes."""
    request.outputs.add(name="y").parameters["classification"].int64_param = classes


REGION_ALONE = {"shared_memory_region": {"string_param": "r"}}
REFUSED = [
    (one(raw=b"123"), "shape_data_mismatch"),
    (one(raw=b"12345"), "shape_data_mismatch"),
    (one(shape=(2**40,), raw=b"1234"), "shape_data_mismatch"),
    (one(shape=(2**40,), fp32_contents=[1.0]), "shape_data_mismatch"),
    (one(shape=(2**40,), datatype="INT64", int64_contents=[1]), "shape_data_mismatch"),
    (one(shape=(2,), fp32_contents=[1.0]), "shape_data_mismatch"),
    (one("BYTES", (2,), bytes_contents=[b"a"]), "shape_data_mismatch"),
    (one("BYTES", (1,), bytes_contents=[b"a", b"b"]), "shape_data_mismatch"),
    (one("BYTES", (1,), raw=b"123"), "shape_data_mismatch"),
    (one("BYTES", (1,), raw=b"\2\0\0\0a"), "malformed_bytes"),
    (one("BYTES", (1,), raw=b"\xff\xff\xff\xff"), "malformed_bytes"),
    (one("BOOL", raw=b"\2"), "value_out_of_range"),
    (one("INT8", int_contents=[128]), "value_out_of_range"),
    (one("INT8", int_contents=[-129]), "value_out_of_range"),
    (one("UINT16", uint_contents=[2**16]), "value_out_of_range"),
    (one("FP32", fp64_contents=[1.0]), "wrong_type"),
    (one("FP32", fp32_contents=[1.0], int_contents=[1]), "wrong_type"),
    (one("FP16", fp32_contents=[1.0]), "wrong_type"),
    (one("BF16", fp32_contents=[1.0]), "wrong_type"),
    (one(), "missing_field"),
    (one(raw=b"1234", fp32_contents=[1.0]), "conflicting_data"),
    (changed(lambda r: r.inputs[0].contents.SetInParent(), one(raw=b"1234")), "conflicting_data"),
    (changed(lambda r: r.raw_input_contents.append(b""), one(raw=b"1234")), "binary_size_mismatch"),
    (changed(lambda r: r.inputs.add(name="z", datatype="INT8", shape=[1]), one(raw=b"1234")), "binary_size_mismatch"),
    (changed(lambda r: r.inputs.append(r.inputs[0]), one(raw=b"1234")), "duplicate_input"),
    (changed(lambda r: [_wanting(r, classes) for classes in (1, 2)], one(raw=b"1234")), "duplicate_output"),
    (changed(lambda r: _wanting(r, 0), one(raw=b"1234")), "wrong_type"),
    (one("FP8", raw=b"1"), "unknown_datatype"),
    (one("", raw=b"1"), "unknown_datatype"),
    (one(shape=(-1,), raw=b"1234"), "invalid_shape"),
    (one(shape=(1,) * 61, raw=b"1234"), "invalid_shape"),
    (one(shape=(2**62, 2**62, 0), raw=b""), "invalid_shape"),
    (changed(lambda r: r.parameters["a"].SetInParent(), one(raw=b"1234")), "wrong_type"),
    (placed(4, raw=b"1234"), "binary_size_mismatch"),
    (placed(4, fp32_contents=[1.0]), "conflicting_data"),
    (placed(3), "shape_data_mismatch"),
    (placed(5), "shape_data_mismatch"),
    (placed(3, "BYTES"), "shape_data_mismatch"),
    (placed(-1), "wrong_type"),
    (changed(lambda r: given_parameters(r.inputs[0].parameters, REGION_ALONE), one()), "missing_field"),
    (changed(lambda r: given_parameters(r.outputs.add(name="y").parameters, REGION_ALONE), one(raw=b"1234")),
     "missing_field"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_refused(request_: Any, reason: str) -> None:
    """Every lie about sizes, types and places has the reason it has over HTTP, also when its head is kept."""
    for _ in range(2):
        with pytest.raises(InvalidRequest) as error:
            asked(request_)
        assert error.value.reason == reason


def _many_bytes(count: int) -> Any:
    request = one("BYTES", (MAX_BYTES_ELEMENTS,), raw=bytes(4 * MAX_BYTES_ELEMENTS))
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
    request = one("INT8", raw=b"\0")
    given_parameters(request.parameters, {str(index): {"bool_param": True} for index in range(count)})
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
    assert asked(make(most)).request.inputs
    with pytest.raises(TooLarge) as error:
        asked(make(most + 1))
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
    one("INT64", (3,), int64_contents=[1, -1, 2**62]).SerializeToString(),
    one("BYTES", (2,), bytes_contents=[b"abc", b""]).SerializeToString(),
    _many_parameters(2).SerializeToString(),
    _many_tensors(3).SerializeToString(),
]


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=60), st.sampled_from(GOOD)), st.data())
def test_garbage_only_raises_our_errors(body: bytes, data: st.DataObject) -> None:
    """Random bytes, and good messages with some bytes changed, are read as protobuf reads them, or refused."""
    mutated = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        if mutated:
            mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    outcomes = []
    for read in (decode, route_of):
        try:
            outcomes.append(read(memoryview(bytes(mutated)))[:2])
        except CallerError:
            outcomes.append(None)
    assert outcomes[0] in (None, outcomes[1])
    if outcomes[0] is not None:
        with contextlib.suppress(DecodeError):  # it takes no tags and lengths that are padded to over five bytes
            peer = Request.FromString(bytes(mutated))
            assert outcomes[0] == (peer.model_name, peer.model_version)


@pytest.mark.parametrize(
    "request_",
    [
        one("FP32", (2**22,), raw=bytes(2**24)),
        one("INT8", (2**24,), int_contents=bytes(2**24)),
        one("BOOL", (2**24,), bool_contents=bytes(2**24)),
        one("FP32", (2**40,), raw=bytes(2**24)),
        one("INT64", (2**40,), int64_contents=bytes(2**24)),
        one("BYTES", (2**16,), bytes_contents=[b""] * 2**16),
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
