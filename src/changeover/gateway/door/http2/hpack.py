"""HPACK: header blocks to fields, with the client's dynamic table, and fields to blocks without one (pure).

RFC 7541. Decoding is checked against the `hpack` package in the tests. What the door sends is written as literals
that enter no table, so encoding has no state.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from changeover.gateway.door.http2.frames import Broken, Code
from changeover.gateway.door.http2.huffman import NotHuffman, decode

Field = tuple[bytes, bytes]
TABLE_BYTES: Final = 4096
"""Size of the dynamic table: the protocol's default, which the door does not change."""
NO_TABLE: Final = b"\x20"
"""The begin of a block: from now on its sender uses no dynamic table."""

_ENTRY_BYTES: Final = 32
_MOST_RESIZES: Final = 2
_MOST_DIGITS: Final = 4
"""Further bytes of an integer: 28 bits and the prefix, more than any length or index here."""

STATIC: Final[tuple[Field, ...]] = (
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"), (b"accept-language", b""), (b"accept-ranges", b""), (b"accept", b""),
    (b"access-control-allow-origin", b""), (b"age", b""), (b"allow", b""), (b"authorization", b""),
    (b"cache-control", b""), (b"content-disposition", b""), (b"content-encoding", b""), (b"content-language", b""),
    (b"content-length", b""), (b"content-location", b""), (b"content-range", b""), (b"content-type", b""),
    (b"cookie", b""), (b"date", b""), (b"etag", b""), (b"expect", b""), (b"expires", b""), (b"from", b""),
    (b"host", b""), (b"if-match", b""), (b"if-modified-since", b""), (b"if-none-match", b""), (b"if-range", b""),
    (b"if-unmodified-since", b""), (b"last-modified", b""), (b"link", b""), (b"location", b""), (b"max-forwards", b""),
    (b"proxy-authenticate", b""), (b"proxy-authorization", b""), (b"range", b""), (b"referer", b""), (b"refresh", b""),
    (b"retry-after", b""), (b"server", b""), (b"set-cookie", b""), (b"strict-transport-security", b""),
    (b"transfer-encoding", b""), (b"user-agent", b""), (b"vary", b""), (b"via", b""), (b"www-authenticate", b""),
)  # fmt: skip


class Decoder:
    """Decodes the header blocks of one connection, in their order.

    Args:
        limit: bytes of one list of fields, counted as the protocol does: names, values and 32 for each.

    Attributes:
        changes: how often a block has changed the table; one that did not gives the same fields again.
    """

    __slots__ = ("_block", "_entries", "_limit", "_most", "_size", "_taken", "changes")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[Field] = deque()
        self._size = 0
        self._most = TABLE_BYTES
        self._block = b""
        self._taken = 0
        self.changes = 0

    def decode(self, block: bytes) -> list[Field]:
        """The fields of the next block.

        Raises:
            Broken: it is no HPACK, or more than the limit; the table is lost, and the connection with it.
        """
        self._block, self._taken = block, 0
        try:
            return self._fields()
        except IndexError:
            raise _bad("a header block that ends too early, or an index that is in no table") from None
        except NotHuffman as error:
            raise _bad(str(error)) from None

    def _fields(self) -> list[Field]:
        block, size, limit = self._block, len(self._block), self._limit
        fields: list[Field] = []
        total = resizes = 0
        while self._taken < size:
            first = block[self._taken]
            if first >= 0x80:
                field = self._entry(self._integer(0x7F))
            elif first >= 0x40:
                field = self._literal(0x3F)
                self._add(field)
            elif first >= 0x20:
                resizes += 1
                if fields or resizes > _MOST_RESIZES:
                    raise _bad("a change of the table's size behind a field, or a third one")
                self._resize(self._integer(0x1F))
                continue
            else:
                field = self._literal(0x0F)
            fields.append(field)
            total += size_of(field)
            if total > limit:
                raise Broken(Code.ENHANCE_YOUR_CALM, f"more than {limit} bytes of header fields")
        return fields

    def _integer(self, mask: int) -> int:
        """An integer whose first bits are under `mask` in the next byte."""
        block = self._block
        value = block[self._taken] & mask
        self._taken += 1
        if value < mask:
            return value
        for digit in range(_MOST_DIGITS):
            byte = block[self._taken]
            self._taken += 1
            value += (byte & 0x7F) << 7 * digit
            if byte < 0x80:
                return value
        raise _bad("an integer that is too long")

    def _literal(self, mask: int) -> Field:
        index = self._integer(mask)
        name = self._entry(index)[0] if index else self._text()
        return name, self._text()

    def _text(self) -> bytes:
        coded = self._block[self._taken] >= 0x80
        length = self._integer(0x7F)
        end = self._taken + length
        if end > len(self._block):
            raise _bad("a text that is longer than its block")
        text = self._block[self._taken : end]
        self._taken = end
        return decode(text) if coded else text

    def _entry(self, index: int) -> Field:
        if index <= 0:
            raise _bad("the index 0")
        if index <= len(STATIC):
            return STATIC[index - 1]
        return self._entries[index - len(STATIC) - 1]

    def _add(self, field: Field) -> None:
        self.changes += 1
        self._entries.appendleft(field)
        self._size += size_of(field)
        self._shrink()

    def _resize(self, most: int) -> None:
        if most > TABLE_BYTES:
            raise _bad(f"a table of {most} bytes; {TABLE_BYTES} are the limit")
        self.changes += 1
        self._most = most
        self._shrink()

    def _shrink(self) -> None:
        while self._size > self._most:
            self._size -= size_of(self._entries.pop())


def encode(fields: list[Field]) -> bytes:
    """A block of literals that enter no table; names in lower case."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes((length,)) + text
    digits = bytearray((0x7F,))
    length -= 0x7F
    while length >= 0x80:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits) + text


def size_of(field: Field) -> int:
    """Bytes of a field as the protocol counts them."""
    return len(field[0]) + len(field[1]) + _ENTRY_BYTES


def _bad(message: str) -> Broken:
    return Broken(Code.COMPRESSION_ERROR, message)
