"""HTTP/2 frames as bytes (pure). RFC 9113, sections 4 and 6."""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from changeover.errors import CallerError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME: Final = 16_384
"""Payload bytes of a frame: the protocol's least limit, which the door keeps to for what it reads."""
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
MAX_STREAM: Final = 2**31 - 1

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

_HEADER: Final = struct.Struct(">LBL")
"""Length and kind, flags, stream."""
_PAIR: Final = struct.Struct(">HL")
_LONG: Final = struct.Struct(">L")
_VIEWED_BYTES: Final = 2048


class Code(enum.IntEnum):
    """Error codes of RST_STREAM and GOAWAY."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11


class Setting(enum.IntEnum):
    """Identifiers in SETTINGS that the door reads or sends."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Broken(CallerError):
    """The connection cannot go on: it ends with GOAWAY.

    Attributes:
        code: why, for the peer.
    """

    default_reason = "http2_protocol"

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class Frame(msgspec.Struct, frozen=True):
    """One frame as it was read; the payload is a copy, or a view of what was read when it is long."""

    kind: int
    flags: int
    stream: int
    payload: bytes | memoryview


class FrameReader:
    """Cuts a client's bytes into frames; checks the preface and the length of every frame.

    Attributes:
        opened: the preface is there.
    """

    __slots__ = ("_at", "_inbox", "opened")

    def __init__(self) -> None:
        self._inbox = b""
        self._at = 0
        self.opened = False

    @property
    def held(self) -> int:
        """Bytes not yet taken."""
        return len(self._inbox) - self._at

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        if self._at < len(self._inbox):
            data = self._inbox[self._at :] + data
        self._inbox = data
        self._at = 0

    def clear(self) -> None:
        """Let go of what was not taken."""
        self._inbox, self._at = b"", 0

    def take(self, most: int) -> list[Frame]:
        """Up to `most` whole frames; fewer when the rest has not come yet.

        Raises:
            Broken: no HTTP/2, or a frame that is longer than the door allows.
        """
        if not self.opened and not self._open():
            return []
        inbox, at = self._inbox, self._at
        size = len(inbox)
        frames: list[Frame] = []
        while size - at >= 9 and len(frames) < most:
            length, flags, stream = _HEADER.unpack_from(inbox, at)
            kind = length & 0xFF
            length >>= 8
            if length > MAX_FRAME:
                raise Broken(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes; {MAX_FRAME} are the limit")
            end = at + 9 + length
            if end > size:
                break
            payload = inbox[at + 9 : end] if length <= _VIEWED_BYTES else memoryview(inbox)[at + 9 : end]
            frames.append(Frame(kind, flags, stream & MAX_STREAM, payload))
            at = end
        self._at = at
        if at == size:
            self._inbox = b""
            self._at = 0
        return frames

    def _open(self) -> bool:
        seen = self._inbox[: len(PREFACE)]
        if not PREFACE.startswith(seen):
            raise Broken(Code.PROTOCOL_ERROR, "this port speaks HTTP/2 with prior knowledge, for gRPC")
        if len(seen) < len(PREFACE):
            return False
        self.opened = True
        self._at = len(PREFACE)
        return True


def header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload of `length` bytes."""
    return _HEADER.pack(length << 8 | kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return header(len(payload), kind, flags, stream) + payload


def answer(stream: int, head: bytes, size: int, body: Sequence[bytes | memoryview], end: bytes) -> bytes:
    """A whole answer in three frames: its first fields, `size` bytes of data, its last fields."""
    pack = _HEADER.pack
    begin = pack(len(head) << 8 | HEADERS, END_HEADERS, stream)
    data = pack(size << 8 | DATA, 0, stream)
    last = pack(len(end) << 8 | HEADERS, END_HEADERS | END_STREAM, stream)
    return b"".join([begin, head, data, *body, last, end])


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_PAIR.pack(key, value) for key, value in values.items()))


def pairs(payload: bytes | memoryview) -> list[tuple[int, int]]:
    """Identifiers and values of a SETTINGS payload."""
    if len(payload) % _PAIR.size:
        raise Broken(Code.FRAME_SIZE_ERROR, "SETTINGS of a broken length")
    return list(_PAIR.iter_unpack(payload))


def number(payload: bytes | memoryview, name: str) -> int:
    """The one number of a WINDOW_UPDATE or RST_STREAM payload."""
    if len(payload) != _LONG.size:
        raise Broken(Code.FRAME_SIZE_ERROR, f"a {name} of {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def window_update(stream: int, amount: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _LONG.pack(amount))


def reset(stream: int, code: Code) -> bytes:
    """An RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, _LONG.pack(code))


def goaway(last: int, code: Code, text: str = "") -> bytes:
    """A GOAWAY frame: streams above `last` were not and will not be looked at."""
    return frame(GOAWAY, 0, 0, _LONG.pack(last) + _LONG.pack(code) + text.encode("utf-8", "replace")[:1024])


def unpadded(flags: int, payload: bytes | memoryview) -> bytes | memoryview:
    """The payload of DATA or HEADERS without its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Broken(Code.PROTOCOL_ERROR, "padding that is longer than its frame")
    return payload[1 : len(payload) - payload[0]]


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)
