"""Each kind of scalar: its bytes are protobuf's, and packed ones are cut apart."""

from __future__ import annotations

import math
from typing import Any

import pytest

from changeover.errors import InvalidRequest
from changeover.protocol.oip_grpc_scalars import SCALARS, cut, enum_scalar
from changeover.protocol.oip_grpc_wire import FIXED32, FIXED64, VARINT, write_varint


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        ("bool", True, b"\x01"),
        ("int32", -1, b"\xff" * 9 + b"\x01"),
        ("int64", 300, b"\xac\x02"),
        ("uint32", 2**32 - 1, b"\xff\xff\xff\xff\x0f"),
        ("uint64", 2**64 - 1, b"\xff" * 9 + b"\x01"),
        ("float", 1.5, b"\x00\x00\xc0\x3f"),
        ("double", -math.inf, b"\x00\x00\x00\x00\x00\x00\xf0\xff"),
        ("string", "é", b"\xc3\xa9"),
        ("bytes", b"\x00\xff", b"\x00\xff"),
    ],
)
def test_scalars_are_written_and_read(kind: str, value: Any, written: bytes) -> None:
    """A value has the bytes of the encoding's specification, and they are that value."""
    assert SCALARS[kind].write(value) == written
    assert SCALARS[kind].read(memoryview(written)) == value


def test_numbers_over_their_width_lose_their_upper_bits() -> None:
    """A 32-bit field takes the lower 32 bits, as protobuf does; any number but 0 is true."""
    wide = memoryview(write_varint(2**32 + 2**31 + 5))
    assert SCALARS["uint32"].read(wide) == 2**31 + 5
    assert SCALARS["int32"].read(wide) == 5 - 2**31
    assert SCALARS["bool"].read(memoryview(write_varint(2**40))) is True


def test_packed_numbers_are_cut() -> None:
    """A packed field is cut where its numbers end."""
    assert [bytes(one) for one in cut(memoryview(b"\x01\x96\x01\x02"), VARINT)] == [b"\x01", b"\x96\x01", b"\x02"]
    assert [bytes(one) for one in cut(memoryview(b"abcdefgh"), FIXED32)] == [b"abcd", b"efgh"]
    assert list(cut(memoryview(b""), FIXED64)) == []


@pytest.mark.parametrize(("form", "written"), [(VARINT, b"\x01\x80"), (FIXED32, b"abcde"), (FIXED64, b"abc")])
def test_packed_numbers_end_with_their_field(form: int, written: bytes) -> None:
    """A packed field that ends inside a number is malformed."""
    with pytest.raises(InvalidRequest) as error:
        list(cut(memoryview(written), form))
    assert error.value.reason == "malformed_protobuf"


def test_enums_go_by_name() -> None:
    """The first name is what is not there; an unknown number is kept."""
    scalar = enum_scalar({"NONE": 0, "SOME": 200})
    assert (scalar.default, scalar.write("SOME")) == ("NONE", b"\xc8\x01")
    assert [scalar.read(memoryview(write_varint(number))) for number in (0, 200, 7)] == ["NONE", "SOME", 7]
