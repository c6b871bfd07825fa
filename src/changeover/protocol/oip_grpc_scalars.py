"""Numbers and texts of protobuf: how each kind of scalar is read from a field's bytes, and written.

A reader takes the bytes of one value; what it cannot take it refuses as `malformed_protobuf`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from changeover.protocol.oip_grpc_wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    malformed,
    signed,
    text,
    unsigned,
    varint,
    write_varint,
)

_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_SIZES = {FIXED32: 4, FIXED64: 8}


class Scalar(NamedTuple):
    """A kind of scalar.

    Attributes:
        form: the form of its values on the wire.
        default: what a field has that is not there.
        read: the value of its bytes.
        write: the bytes of a value; for texts and bytes without their length.
    """

    form: int
    default: object
    read: Callable[[memoryview], Any]
    write: Callable[[Any], bytes]


def cut(value: memoryview, form: int) -> Iterator[memoryview]:
    """The values of a packed field.

    Raises:
        InvalidRequest: `malformed_protobuf`.
    """
    at, end = 0, len(value)
    while at < end:
        stop = varint(value, at)[1] if form == VARINT else at + _SIZES[form]
        if stop > end:
            raise malformed("a packed field ends inside a number")
        yield value[at:stop]
        at = stop


def enum_scalar(values: Mapping[str, int]) -> Scalar:
    """An enum, whose values are called by their names; a number without a name stays a number."""
    names = {number: name for name, number in values.items()}

    def read(value: memoryview) -> str | int:
        number = _int32(value)
        return names.get(number, number)

    return Scalar(VARINT, names[0], read, lambda name: write_varint(values[name]))


def _int32(value: memoryview) -> int:
    number = unsigned(value) & 0xFFFF_FFFF
    return number - (1 << 32) if number >> 31 else number


def _write_integer(value: int | str) -> bytes:
    """An integer; JSON writes those over 53 bits, and all that are keys of a map, as text."""
    return write_varint(int(value))


SCALARS: Final[Mapping[str, Scalar]] = {
    "bool": Scalar(VARINT, False, lambda value: unsigned(value) != 0, write_varint),
    "int32": Scalar(VARINT, 0, _int32, _write_integer),
    "int64": Scalar(VARINT, 0, signed, _write_integer),
    "uint32": Scalar(VARINT, 0, lambda value: unsigned(value) & 0xFFFF_FFFF, _write_integer),
    "uint64": Scalar(VARINT, 0, unsigned, _write_integer),
    "float": Scalar(FIXED32, 0.0, lambda value: _FLOAT.unpack(value)[0], _FLOAT.pack),
    "double": Scalar(FIXED64, 0.0, lambda value: _DOUBLE.unpack(value)[0], _DOUBLE.pack),
    "string": Scalar(LENGTH, "", lambda value: text(value, "a string"), str.encode),
    "bytes": Scalar(LENGTH, b"", lambda value: value, bytes),
}
"""By the name in a `.proto` file. Bytes are read as a view, not copied."""
