"""The wire format of protocol buffers, as far as gRPC's messages need it: fields of bytes, and bytes of fields.

A message is a run of fields; each has a tag (its number and the form of its value) and a value. All is read as
views, and what is skipped is not looked at: walking over a message costs by its fields, not by its bytes.

Stricter than protobuf's own parser in two things that no serialiser writes: a known field in another form than its
type asks for, and groups, are refused instead of skipped.
Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from changeover.errors import InvalidRequest, TooLarge
from changeover.tensors import Raw

MAX_FIELDS: Final = 1 << 14  # in a message and all inside it: each costs some 0.5 µs, whatever its size

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_LONGEST = 10  # bytes of a varint
_MASK = (1 << 64) - 1
_HIGHEST_TAG = (1 << 32) - 1
_SHORT = frozenset(number << 3 | LENGTH for number in range(1, 16))

Field = tuple[int, int, int]
"""Tag, and where its value begins and ends; a value of a told length without that length."""


def field(message: memoryview, at: int) -> Field:
    """The field that begins at `at`.

    Raises:
        InvalidRequest: `malformed_protobuf`.
    """
    tag, start, end = message[at], at + 2, len(message)
    if tag in _SHORT and start < end:  # most are: a third of the time of the long way
        stop = start + message[at + 1]
        if stop - start >= 0x80:
            stop = end + 1 if message[start] >= 0x80 else stop - 0x7F + (message[start] << 7)
            start += 1
        if stop <= end:
            return tag, start, stop
    tag, start = varint(message, at)
    form = tag & 7
    if not 8 <= tag <= _HIGHEST_TAG:
        raise malformed(f"byte {at} begins no field")
    if form == LENGTH:
        size, start = varint(message, start)
        stop = start + size
    elif form == VARINT:
        _, stop = varint(message, start)
    elif form == FIXED32:
        stop = start + 4
    elif form == FIXED64:
        stop = start + 8
    else:
        raise malformed(f"field {tag >> 3} has the form {form}")
    if stop > len(message):
        raise malformed(f"field {tag >> 3} ends behind its message")
    return tag, start, stop


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The unsigned number that begins at `at`, and where it ends.

    Raises:
        InvalidRequest: `malformed_protobuf`, it does not end, or not within 10 bytes.
    """
    number = shift = 0
    stop = min(at + _LONGEST, len(message))
    for place in range(at, stop):
        byte = message[place]
        if byte < 0x80:
            return (number | byte << shift) & _MASK, place + 1
        number |= (byte & 0x7F) << shift
        shift += 7
    raise malformed(f"the number at byte {at} does not end")


class Fields:
    """Walks over messages that lie inside each other; all together have at most `limit` fields."""

    __slots__ = ("_left", "_limit")

    def __init__(self, limit: int = MAX_FIELDS) -> None:
        self._limit = self._left = limit

    def of(self, message: memoryview) -> Iterator[tuple[int, memoryview]]:
        """The fields of a message as they come: tag, and the bytes of the value.

        Raises:
            InvalidRequest: `malformed_protobuf`.
            TooLarge: `too_many_fields`.
        """
        at, end = 0, len(message)
        while at < end:
            self.spend()
            tag, start, at = field(message, at)
            yield tag, message[start:at]

    def spend(self) -> None:
        """Count a field.

        Raises:
            TooLarge: `too_many_fields`.
        """
        if not self._left:
            raise too_many_fields(self._limit)
        self._left -= 1


def too_many_fields(limit: int = MAX_FIELDS) -> TooLarge:
    """The refusal of a message with more fields than an honest one has."""
    return TooLarge(f"a message has at most {limit} fields", reason="too_many_fields")


def malformed(what: str) -> InvalidRequest:
    """The refusal of bytes that are no message."""
    return InvalidRequest(f"the message is not well-formed protobuf: {what}", reason="malformed_protobuf")


def wrong_form(tag: int, where: str) -> InvalidRequest:
    """The refusal of a known field whose value has another form than its type."""
    return malformed(f"{where} has a field {tag >> 3} of the form {tag & 7}")


def text(value: Raw, where: str) -> str:
    """A string.

    Raises:
        InvalidRequest: `malformed_protobuf`, it is not UTF-8.
    """
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise malformed(f"{where} is not UTF-8") from None


def unsigned(value: memoryview) -> int:
    """A varint's number, 0 to 2**64 - 1."""
    return varint(value, 0)[0]


def signed(value: memoryview) -> int:
    """A varint's number as `int64`, `int32` or an enum has it."""
    number = varint(value, 0)[0]
    return number - (1 << 64) if number >> 63 else number


def write_varint(number: int) -> bytes:
    """A number, -2**63 to 2**64 - 1."""
    number &= _MASK
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def write_prefix(number: int, size: int) -> bytes:
    """What stands before the `size` bytes of field `number`."""
    return write_varint(number << 3 | LENGTH) + write_varint(size)


def write_bytes(number: int, value: bytes) -> bytes:
    """Field `number`, of bytes, a message or a packed list."""
    return write_prefix(number, len(value)) + value


def write_text(number: int, value: str) -> bytes:
    """Field `number`, a string."""
    return write_bytes(number, value.encode())
