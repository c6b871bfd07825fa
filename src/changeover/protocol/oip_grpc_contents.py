"""Typed contents of a gRPC tensor to its raw bytes: lists of numbers, packed or not, in one list per kind of number.

Floats and doubles are on the wire as in a tensor, so one packed list of them is used as it is, without a copy. The
integers are varints and are decoded many at a time. Nothing is allocated before the elements were counted and are as
many as the shape says; the largest growth is that of an INT64 in one byte on the wire to eight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from changeover.protocol.oip import refusal
from changeover.protocol.oip_grpc_schema import MESSAGES
from changeover.protocol.oip_grpc_wire import LENGTH, Fields, field, malformed, wrong_form
from changeover.protocol.oip_values import check_count, out_of_range
from changeover.tensors import Datatype, Raw, flat_bytes

_TABLE: Final = MESSAGES["inference.InferTensorContents"]
_LISTS: Final = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
_WIDE: Final = {"int_contents": np.int32, "uint_contents": np.uint32}  # a varint's upper bits are dropped
_FIXED: Final = (Datatype.FP32, Datatype.FP64)
_BYTES: Final = Datatype.BYTES
_BLOCK: Final = 1 << 16  # bytes of varints decoded together, so that the work fits the cache
_LONGEST: Final = 10
_ELEMENT: Final = 8 << 3 | LENGTH  # the tag of an element of BYTES
_SIZES: Final = [size.to_bytes(4, "little") for size in range(0x80)]
_LONG: Final = 1 << 14  # bytes from which on a length takes three


def raw_data(contents: Sequence[memoryview], datatype: Datatype, count: int, where: str, fields: Fields) -> Raw:
    """The raw bytes of a tensor whose elements are in `contents`.

    Args:
        contents: the message of its elements; several are one after the other, as the format has it.
        datatype: type of the elements.
        count: how many there must be.
        where: name of the member, for errors.
        fields: counts what is read, BYTES excepted, of which there are `count`.

    Raises:
        InvalidRequest: `wrong_type` for a list of another type, `shape_data_mismatch`, `value_out_of_range`,
            `malformed_protobuf`.
        TooLarge: `too_many_fields`.
    """
    if datatype is _BYTES:
        return _serialised(contents, count, where, fields)
    pieces = [piece for message in contents for piece in _pieces(message, datatype, where, fields)]
    size = sum(map(len, pieces))
    if datatype in _FIXED:
        if size != count * datatype.itemsize:
            check_count(size // datatype.itemsize, count, where)
            raise malformed(f"{where} ends inside a number")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return _integers(pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces)), datatype, count, where)


def _pieces(message: memoryview, datatype: Datatype, where: str, fields: Fields) -> Iterator[memoryview]:
    """Each packed list of a tensor's numbers, and each number that stands alone.

    What follows each other is the same bytes as a packed list of all.
    """
    name = _LISTS.get(datatype, "")
    for tag, value in fields.of(message):
        slot = _TABLE.by_tag.get(tag)
        if slot is not None and slot.name == name:
            yield value
        else:
            _check_other(tag, value, datatype, where)


def _check_other(tag: int, value: memoryview, datatype: Datatype, where: str) -> None:
    """Refuse elements of another type than the tensor's; an empty list, and what nobody knows, say nothing."""
    slot = _TABLE.by_tag.get(tag)
    if slot is None or slot.scalar is None:
        if tag >> 3 in _TABLE.numbers:
            raise wrong_form(tag, where)
    elif value or slot.scalar.form == LENGTH:
        name = _LISTS.get(datatype, "raw_input_contents")
        raise refusal(where, f"{name} for {datatype.name}", slot.name)


def _serialised(contents: Sequence[memoryview], count: int, where: str, fields: Fields) -> Raw:
    """The elements of BYTES in raw form; read no further than there must be."""
    raw, taken = bytearray(), 0
    for message in contents:
        at, end = 0, len(message)
        while at < end:
            at, more = _usual(message, at, raw, count - taken)
            taken += more
            if at == end:
                break
            tag, start, at = field(message, at)
            if tag != _ELEMENT or at - start < _LONG:
                fields.spend()  # no serialiser writes an element so, each of which takes 1 µs
            if tag != _ELEMENT:
                _check_other(tag, message[start:at], _BYTES, where)
                continue
            taken += 1
            if taken > count:
                check_count(taken, count, where)
            raw += (at - start).to_bytes(4, "little")
            raw += message[start:at]
    check_count(taken, count, where)
    return memoryview(raw)


def _usual(message: memoryview, at: int, raw: bytearray, most: int) -> tuple[int, int]:
    """Add the elements of BYTES from `at` on, `most` of them, that have a length of one byte or two: 0.2 µs each.

    Returns:
        Where they end, and how many they are.
    """
    end, taken = len(message), 0
    while taken < most and at + 1 < end and message[at] == _ELEMENT:
        size, start = message[at + 1], at + 2
        if size >= 0x80:
            if start == end or message[start] >= 0x80:
                break
            size += (message[start] << 7) - 0x80
            start += 1
        stop = start + size
        if stop > end:
            break
        raw += _SIZES[size] if size < 0x80 else size.to_bytes(4, "little")
        raw += message[start:stop]
        at, taken = stop, taken + 1
    return at, taken


def _integers(written: memoryview, datatype: Datatype, count: int, where: str) -> Raw:
    """The varints of a list as numbers of `datatype`."""
    bytes_ = np.frombuffer(written, np.uint8)
    blocks = range(0, len(bytes_), _BLOCK)
    check_count(sum(int(np.count_nonzero(bytes_[at : at + _BLOCK] < 0x80)) for at in blocks), count, where)
    numbers = np.empty(count, datatype.numpy)
    at = done = 0
    while at < len(bytes_):
        varints, size = _varints(bytes_[at : at + _BLOCK], where)
        numbers[done : done + len(varints)] = _narrow(varints, datatype, done, where)
        at += size
        done += len(varints)
    return flat_bytes(numbers)


def _varints(block: npt.NDArray[np.uint8], where: str) -> tuple[npt.NDArray[np.uint64], int]:
    """The varints that end in a block, and the bytes they take."""
    ends = np.flatnonzero(block < 0x80)
    if not len(ends):
        raise malformed(f"{where} has a number that does not end")
    if len(ends) == len(block):
        return block.astype(np.uint64), len(block)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    longest = int(sizes.max())
    if longest > _LONGEST:
        raise malformed(f"{where} has a number of over {_LONGEST} bytes")
    numbers = (block[starts] & 0x7F).astype(np.uint64)
    for place in range(1, longest):
        longer = np.flatnonzero(sizes > place)
        numbers[longer] |= (block[starts[longer] + place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return numbers, int(ends[-1]) + 1


def _narrow(varints: npt.NDArray[np.uint64], datatype: Datatype, done: int, where: str) -> npt.NDArray[Any]:
    """Numbers as they are in the tensor; `done` of it come before them."""
    if datatype is Datatype.BOOL:
        return varints.astype(np.bool_)
    wide: npt.NDArray[Any] = varints.astype(_WIDE.get(_LISTS[datatype], datatype.numpy))
    if datatype.itemsize < wide.itemsize:
        limits = np.iinfo(datatype.numpy)
        wrong = (wide < limits.min) | (wide > limits.max)
        if wrong.any():
            index = int(wrong.argmax())
            raise out_of_range(where, done + index, wide[index].item(), datatype)
    return wide.astype(datatype.numpy)
