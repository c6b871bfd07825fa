"""Packed bodies of HTTP (RFC 9110, section 8.4), and messages of gRPC. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from changeover.errors import InvalidRequest, Overloaded, TooLarge
from changeover.tensors import Raw

CODINGS: Final = (b"gzip", b"deflate")
IDENTITY: Final = b"identity"
"""Of what is not packed."""
MOST_UNPACKED: Final = 64 << 20
"""Bytes of a packed body once it is unpacked, which takes up to 0.2 s altogether; less where `body_limit` is less."""
_ZLIB_OR_GZIP: Final = 47
"""Either container, told by its first bytes: `deflate` is the zlib format, and old clients say one for the other."""
_GZIP: Final = 31
_MOST_PACKED: Final = 256 << 10
"""Bytes that are packed: about 5 ms."""
_STEP: Final = 64 << 10
"""Bytes that go in at a time: what is left of them by a full piece is copied."""
_PIECE: Final = 1 << 20
"""Bytes that come out at a time."""


class Unpacking:
    """A packed body on its way to what it was, in steps of some milliseconds, between which others have their turn.

    Args:
        body: as it came, whole.
        coding: of the field `content-encoding`, or `grpc-encoding`; not `identity`.
        most: bytes it may have; no more than that is ever unpacked.
        take: is asked for the bytes of each piece that has come out; false when there is no room for them.

    Attributes:
        packed: bytes of the body as it came.

    Raises:
        InvalidRequest: another coding (`unknown_content_encoding`).
    """

    __slots__ = ("_found", "_most", "_name", "_pieces", "_take", "packed")

    def __init__(self, body: memoryview, coding: bytes, most: int, take: Callable[[int], bool]) -> None:
        self._name = coding.strip().lower()
        if self._name not in CODINGS:
            told = self._name[:60].decode("latin-1")
            raise InvalidRequest(
                f"content-encoding {told!r} is not taken here; send gzip, deflate or the body as it is",
                reason="unknown_content_encoding",
            )
        self._pieces = _pieces(body, self._name, most)
        self._most = most
        self._take = take
        self._found = bytearray()
        self.packed = len(body)

    def step(self) -> memoryview | None:
        """Unpack a piece more; returns the whole when that was the last.

        Raises:
            InvalidRequest: it is not packed so (`malformed_content_encoding`).
            TooLarge: it has more bytes than it may (`too_large`).
            Overloaded: there is no room for it now.
        """
        found, until = self._found, len(self._found) + _PIECE
        try:
            while len(found) < until:
                piece = next(self._pieces, None)
                if piece is None:
                    return memoryview(found).toreadonly()
                if not piece:
                    return None
                if len(found) + len(piece) > self._most:
                    raise TooLarge(f"the body has over {self._most} bytes once it is unpacked")
                if not self._take(len(piece)):
                    raise Overloaded("too many bytes are in flight here to unpack the body; retry later")
                found += piece
        except zlib.error as error:
            raise _malformed(self._name, str(error)) from None
        return None


def _pieces(body: memoryview, name: bytes, most: int) -> Iterator[bytes]:
    """What comes out, a piece at a time and one byte more than `most` altogether; nothing where a pause is due."""
    unpacking = zlib.decompressobj(_ZLIB_OR_GZIP)
    room, at, part = most + 1, 0, memoryview(b"")
    while not unpacking.eof and room:
        if not part and at < len(body):
            if at:
                yield b""  # blocks with nothing in them, of eleven bytes each, take 75 ms a megabyte
            part, at = body[at : at + _STEP], at + _STEP
        last = not part
        piece = unpacking.decompress(part, min(_PIECE, room))
        part = memoryview(unpacking.unconsumed_tail)
        if piece:
            room -= len(piece)
            yield piece
        elif last:
            raise _malformed(name, "it ends too early")
    if unpacking.eof and (unpacking.unused_data or at < len(body)):
        raise _malformed(name, "there is more behind its end")


def packed(chunks: Sequence[Raw], coding: bytes) -> bytes | None:
    """A body in one of `CODINGS`; None when it is so large that packing it would keep all others waiting."""
    if sum(map(len, chunks)) > _MOST_PACKED:
        return None
    packing = zlib.compressobj(1, zlib.DEFLATED, _GZIP if coding == b"gzip" else zlib.MAX_WBITS)
    parts = [packing.compress(chunk) for chunk in chunks]
    return b"".join((*parts, packing.flush()))


def _malformed(name: bytes, why: str) -> InvalidRequest:
    return InvalidRequest(f"the body is no {name.decode()}: {why}", reason="malformed_content_encoding")
