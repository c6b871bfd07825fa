"""Typed contents: many varints at a time, blocks, ranges and counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.errors import InvalidRequest, TooLarge
from changeover.protocol.oip_grpc_contents import raw_data
from changeover.protocol.oip_grpc_wire import MAX_FIELDS, Fields, write_bytes, write_varint
from changeover.tensors import Datatype, split_bytes


def _read(contents: bytes, datatype: Datatype, count: int) -> list[object]:
    data = raw_data([memoryview(contents)], datatype, count, "x", Fields())
    if datatype is Datatype.BYTES:
        return list(split_bytes(data, count))
    return np.frombuffer(data, datatype.numpy).tolist()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_integers_of_all_lengths(numbers: list[int]) -> None:
    """Numbers of one to ten bytes beside each other are told apart."""
    contents = write_bytes(3, b"".join(map(write_varint, numbers)))
    assert _read(contents, Datatype.INT64, len(numbers)) == numbers


@pytest.mark.parametrize("size", [1, 2, 3, 9, 10])
def test_numbers_across_the_blocks(size: int) -> None:
    """Numbers that lie over the end of a block of varints are read whole."""
    number = 1 << 7 * (size - 1)
    count = (1 << 17) // size + 3
    contents = write_bytes(5, write_varint(number) * count)
    assert _read(contents, Datatype.UINT64, count) == [number] * count


def test_the_widths_of_integers() -> None:
    """A 32-bit list takes the lower bits of a longer number, as protobuf does; any truth value but 0 is true."""
    wide = write_varint(2**40 + 7)
    assert _read(write_bytes(2, wide), Datatype.INT32, 1) == [7]
    assert _read(write_bytes(4, wide), Datatype.UINT32, 1) == [7]
    assert _read(write_bytes(1, wide + b"\0"), Datatype.BOOL, 2) == [True, False]
    assert _read(write_bytes(2, write_varint(-128)), Datatype.INT8, 1) == [-128]


def test_the_element_out_of_range_is_named() -> None:
    """The error says which element does not fit, also behind the first block."""
    contents = write_bytes(2, b"\1" * 70_000 + write_varint(300))
    with pytest.raises(InvalidRequest, match=r"x\[70000\]: expected a number that fits INT8, got 300"):
        _read(contents, Datatype.INT8, 70_001)


@pytest.mark.parametrize("numbers", [b"\x80" * 11 + b"\1", b"\x80" * 70_000 + b"\1"], ids=["short", "block"])
def test_numbers_that_do_not_end_are_refused(numbers: bytes) -> None:
    """A number has at most ten bytes."""
    with pytest.raises(InvalidRequest) as error:
        _read(write_bytes(3, b"\1" + numbers), Datatype.INT64, 2)
    assert error.value.reason == "malformed_protobuf"


def test_a_list_of_bytes() -> None:
    """Elements become lengths and bytes; one too many ends the reading."""
    contents = write_bytes(8, b"abc") + write_bytes(8, b"") + write_bytes(8, bytes(300))
    assert _read(contents, Datatype.BYTES, 3) == [b"abc", b"", bytes(300)]
    for count in (2, 4):
        with pytest.raises(InvalidRequest) as error:
            _read(contents, Datatype.BYTES, count)
        assert error.value.reason == "shape_data_mismatch"


def test_elements_of_bytes_of_all_lengths() -> None:
    """One, two and three bytes of length beside each other; one that is cut off is no message."""
    sizes = (0, 127, 128, 16383, 16384, 1, 16384, 0)
    contents = b"".join(write_bytes(8, bytes([65 + size % 7]) * size) for size in sizes)
    assert _read(contents, Datatype.BYTES, len(sizes)) == [bytes([65 + size % 7]) * size for size in sizes]
    for cut in (write_bytes(8, b"abc")[:-1], write_bytes(8, bytes(200))[:-1], b"\x42", b"\x42\x80"):
        with pytest.raises(InvalidRequest) as error:
            _read(write_bytes(8, b"x") + cut, Datatype.BYTES, 2)
        assert error.value.reason == "malformed_protobuf"


def test_elements_of_bytes_that_take_long_are_counted() -> None:
    """Padded lengths and tags, which no serialiser writes, are taken as far as other fields; usual ones all."""
    usual, long = write_bytes(8, b"x"), write_bytes(8, bytes(1 << 14))
    assert len(_read(usual * (MAX_FIELDS + 9) + long * 3, Datatype.BYTES, MAX_FIELDS + 12)) == MAX_FIELDS + 12
    for padded in (b"\x42\x81\x80\x00x", b"\xc2\x00\x01x"):
        assert _read(padded * MAX_FIELDS, Datatype.BYTES, MAX_FIELDS) == [b"x"] * MAX_FIELDS
        with pytest.raises(TooLarge) as error:
            _read(padded * (MAX_FIELDS + 1), Datatype.BYTES, MAX_FIELDS + 1)
        assert error.value.reason == "too_many_fields"


def test_an_empty_list_of_another_type_says_nothing() -> None:
    """A list without elements is no data; unknown fields are skipped."""
    assert _read(write_bytes(6, b"") + write_bytes(99, b"?") + write_bytes(2, b"\5"), Datatype.INT8, 1) == [5]
    with pytest.raises(InvalidRequest, match=r"x: expected int_contents for INT8, got 'fp32_contents'"):
        _read(write_bytes(6, bytes(4)) + write_bytes(2, b"\5"), Datatype.INT8, 1)


@pytest.mark.parametrize("datatype", [Datatype.INT8, Datatype.BYTES, Datatype.FP16])
@pytest.mark.parametrize("number", [1, 99])
def test_floods_of_nothing_are_refused(datatype: Datatype, number: int) -> None:
    """Empty lists of another type and unknown fields are counted too, whatever the tensor is made of."""
    with pytest.raises(TooLarge) as error:
        _read(write_bytes(number, b"") * (MAX_FIELDS + 1), datatype, 0)
    assert error.value.reason == "too_many_fields"
