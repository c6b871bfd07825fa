"""Chunked request bodies, strictly (pure).

Line ends are CRLF only, sizes are hexadecimal digits only, extensions are read over up to a small sum,
trailers are checked, bounded and thrown away. A turn is bounded too: a body in one-byte chunks is work for
the parser, and other connections go on between two turns.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from changeover.gateway.door.refusal import Refused, malformed

TURN_CHUNKS: Final = 2048
"""Chunks taken in one call of `feed`."""

_EXTENSION_BYTES: Final = 1024
_TRAILER_BYTES: Final = 8192
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(;[\t -~\x80-\xff]*)?\r\n")
_SIZE_PART: Final = re.compile(rb"[0-9A-Fa-f]{0,8}|[0-9A-Fa-f]{1,8}(;[\t -~\x80-\xff]*)?\r?")
_TRAILER_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*")


class _At(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILER = enum.auto()


class ChunkedBody:
    """Collects one chunked body.

    Attributes:
        body: what has been decoded.
        done: the last chunk and the trailers were read.
        turn_over: `feed` stopped because its turn was over, not for want of bytes.
    """

    __slots__ = ("_at", "_extensions", "_left", "_limit", "_trailers", "body", "done", "turn_over")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._at = _At.SIZE
        self._left = 0
        self._extensions = 0
        self._trailers = 0
        self.body = bytearray()
        self.done = False
        self.turn_over = False

    @property
    def received(self) -> int:
        """Bytes of the body so far."""
        return len(self.body)

    def view(self) -> memoryview:
        """The body, read-only."""
        return memoryview(self.body).toreadonly()

    def feed(self, data: bytes, start: int) -> int:
        """Take bytes of `data` from `start` on.

        Returns:
            The first position not taken: the rest belongs to the next request when `done`, and must be
            offered again with more bytes behind it when not.

        Raises:
            Refused: 400 for anything but strict framing, 413 over the limit.
        """
        at = start
        self.turn_over = False
        while not self.done:
            if self._at is _At.SIZE:
                at = self._chunks(data, at)
                if self._at is _At.SIZE:
                    return at
            elif self._at is _At.DATA:
                at = self._data(data, at)
                if self._left:
                    return at
                self._at = _At.DATA_END
            elif self._at is _At.DATA_END:
                if len(data) - at < 2:
                    return at
                at = self._data_end(data, at)
            else:
                end = data.find(b"\r\n", at)
                if end < 0:
                    self._count_trailer(len(data) - at)
                    return at
                self._trailer(data[at:end])
                at = end + 2
        return at

    def _chunks(self, data: bytes, at: int) -> int:
        """Take whole chunks; leaves `SIZE` at a chunk that goes on beyond `data` or at the last one."""
        size_line, body, end = _SIZE_LINE.match, self.body, len(data)
        for _ in range(TURN_CHUNKS):
            match = size_line(data, at)
            if match is None:
                self._check_part(data, at)
                return at
            if match[2]:
                self._count_extension(len(match[2]))
            size, start = int(match[1], 16), match.end()
            if size == 0:
                self._at = _At.TRAILER
                return start
            if len(body) + size > self._limit:
                raise Refused(413, "too_large", f"the body is over {self._limit} bytes")
            at = start + size + 2
            if at > end:
                self._at, self._left = _At.DATA, size
                return start
            body += data[start : at - 2]
            if data[at - 2 : at] != b"\r\n":
                raise malformed("a chunk does not end where its size says", "chunked_body")
        self.turn_over = True
        return at

    def _data(self, data: bytes, at: int) -> int:
        part = memoryview(data)[at : at + self._left]
        self.body += part
        self._left -= len(part)
        return at + len(part)

    def _data_end(self, data: bytes, at: int) -> int:
        if data[at : at + 2] != b"\r\n":
            raise malformed("a chunk does not end where its size says", "chunked_body")
        self._at = _At.SIZE
        return at + 2

    def _check_part(self, data: bytes, at: int) -> None:
        rest = len(data) - at
        if rest > _EXTENSION_BYTES + 10:
            raise malformed("a chunk's size line is too long", "chunked_body")
        if not _SIZE_PART.fullmatch(data, at):
            raise malformed("a chunk's size is not a hexadecimal number and CRLF", "chunked_body")

    def _count_extension(self, size: int) -> None:
        self._extensions += size
        if self._extensions > _EXTENSION_BYTES:
            raise malformed("too many chunk extensions", "chunk_extensions")

    def _count_trailer(self, size: int) -> None:
        if self._trailers + size > _TRAILER_BYTES:
            raise Refused(431, "header_too_large", f"the trailers are over {_TRAILER_BYTES} bytes")

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._count_trailer(len(line) + 2)
        self._trailers += len(line) + 2
        if not _TRAILER_LINE.fullmatch(line):
            raise malformed("a trailer is not a header field", "chunked_body")
