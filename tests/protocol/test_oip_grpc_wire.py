"""Fields and varints, the smallest parts of a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import InvalidRequest, TooLarge
from changeover.protocol.oip_grpc_wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    Fields,
    field,
    signed,
    text,
    unsigned,
    varint,
    write_bytes,
    write_text,
    write_varint,
)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_varints_come_through(number: int, behind: bytes) -> None:
    """A number is read as it was written, and what follows is left."""
    written = write_varint(number)
    assert varint(memoryview(written + behind), 0) == (number, len(written))


@given(st.integers(-(2**63), 2**63 - 1))
def test_negative_numbers_come_through(number: int) -> None:
    """A signed number is read as it was written; the same bytes are an unsigned one too."""
    written = memoryview(write_varint(number))
    assert (signed(written), unsigned(written)) == (number, number % 2**64)


def test_padded_varints_are_numbers() -> None:
    """Ten bytes may hold a small number; what is over 64 bits is dropped, as protobuf does."""
    assert varint(memoryview(b"\x81" + b"\x80" * 8 + b"\x00"), 0) == (1, 10)
    assert varint(memoryview(b"\x80" * 9 + b"\x7f"), 0) == (2**63, 10)


@pytest.mark.parametrize("body", [b"", b"\x80", b"\x80" * 10 + b"\x01"], ids=bytes.hex)
def test_varints_that_do_not_end_are_refused(body: bytes) -> None:
    """A number ends inside its message and within ten bytes."""
    with pytest.raises(InvalidRequest, match="does not end"):
        varint(memoryview(body), 0)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 20_000])
@pytest.mark.parametrize("number", [1, 15, 16, 2**29 - 1])
def test_fields_come_through(size: int, number: int) -> None:
    """A field is found whatever its number and size; the shortcut for short ones gives the same."""
    body = b"\x08\x01" + write_bytes(number, bytes(size)) + b"\x08\x01"
    tag, start, stop = field(memoryview(body), 2)
    assert (tag, stop - start, stop) == (number << 3 | LENGTH, size, len(body) - 2)


def test_forms_of_values() -> None:
    """Each form tells where its value ends."""
    ends = {VARINT: b"\x96\x01", FIXED32: bytes(4), FIXED64: bytes(8), LENGTH: b"\x02ab"}
    for form, value in ends.items():
        tag, _, stop = field(memoryview(write_varint(9 << 3 | form) + value + b"more"), 0)
        assert (tag, stop) == (9 << 3 | form, 1 + len(value))


def test_messages_inside_each_other_share_a_limit() -> None:
    """The limit counts the fields of all messages that one walk reads."""
    fields, body = Fields(3), memoryview(write_text(1, "a") + write_text(2, "b"))
    assert [(tag >> 3, bytes(value)) for tag, value in fields.of(body)] == [(1, b"a"), (2, b"b")]
    with pytest.raises(TooLarge, match="at most 3 fields"):
        list(fields.of(body))


def test_texts_are_utf8() -> None:
    """A string that is not UTF-8 is refused, also by the strict rule about surrogates."""
    assert text(memoryview("é€𝄞".encode()), "x") == "é€𝄞"
    for wrong in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"):
        with pytest.raises(InvalidRequest, match="x is not UTF-8"):
            text(memoryview(wrong), "x")
