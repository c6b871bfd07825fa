"""A call's one message, collected from DATA frames (pure). gRPC over HTTP/2: five bytes, then the message."""

from __future__ import annotations

from typing import Final

from changeover.gateway.door.body import SizedBody
from changeover.gateway.door.http2.fields import Refused, Status
from changeover.protocol.content_coding import CODINGS

PREFIX: Final = 5
IDENTITY: Final = b"identity"
"""The coding of messages that are not packed."""


def whole(payload: bytes | memoryview, limit: int, coding: bytes = IDENTITY) -> memoryview:
    """The message when all of it came in one frame, with the end of the stream; packed when `payload[0]` is 1.

    Raises:
        Refused: it is not one whole message, or too large, or packed in a way that is not known.
    """
    if not payload:
        raise missing()
    size = _declared(payload, limit, coding)
    if size != len(payload) - PREFIX:
        raise _cut() if size > len(payload) - PREFIX else _several()
    return memoryview(bytes(payload))[PREFIX:]


class Message:
    """Collects a message that comes in several frames.

    What comes before there is leave to hold the whole is kept as it is; the stream's first window bounds it.

    Args:
        limit: bytes that it may have.
        coding: of the messages that the client packs.

    Attributes:
        size: bytes of the message; -1 while its prefix has not come.
        packed: it is to be unpacked.
        received: bytes of it so far, without the prefix.
    """

    __slots__ = ("_coding", "_early", "_have", "_limit", "_store", "packed", "size")

    def __init__(self, limit: int, coding: bytes = IDENTITY) -> None:
        self._limit = limit
        self._coding = coding
        self.packed = False
        self._early = bytearray()
        self._have = 0  # with the prefix
        self._store: SizedBody | None = None
        self.size = -1

    @property
    def received(self) -> int:
        """Bytes of the message so far."""
        return max(0, self._have - PREFIX)

    def feed(self, payload: bytes | memoryview) -> None:
        """Take the data of a frame.

        Raises:
            Refused: too large, packed in a way that is not known, or more than one message.
        """
        self._have += len(payload)
        if self._store is None:
            self._early += payload
            if self.size < 0 and self._have >= PREFIX:
                self.size = _declared(bytes(self._early[:PREFIX]), self._limit, self._coding)
                self.packed = bool(self._early[0])
        if self.size >= 0 and self._have - PREFIX > self.size:
            raise _several()
        if self._store is not None:
            self._store.feed(bytes(payload), 0)

    def grant(self) -> None:
        """The whole message may be held: make its place."""
        self._store = SizedBody(self.size)
        early, self._early = bytes(self._early), bytearray()
        self._store.feed(early, PREFIX)

    @property
    def granted(self) -> bool:
        """Whether there is a place for the whole message."""
        return self._store is not None

    def end(self) -> None:
        """The client has sent all: check that it is a whole message.

        Raises:
            Refused: it is not.
        """
        if self._have == 0:
            raise missing()
        if self.size < 0 or self._have - PREFIX < self.size:
            raise _cut()

    def view(self) -> memoryview:
        """The message; read-only, it owns its memory. Empty before `grant`."""
        return memoryview(b"") if self._store is None else self._store.view()

    @property
    def wanted(self) -> int:
        """Bytes to come that are known to belong to this message: of its prefix, then of all of it."""
        return PREFIX - self._have if self.size < 0 else self.lacking

    @property
    def lacking(self) -> int:
        """Bytes still to come, when the size is known."""
        return self.size + PREFIX - self._have


def prefix(size: int) -> bytes:
    """The five bytes before an uncompressed message of `size` bytes."""
    return size.to_bytes(PREFIX, "big")


def missing() -> Refused:
    """A call without a message."""
    return Refused(Status.UNIMPLEMENTED, "missing_message", "the call has no message")


def _declared(payload: bytes | memoryview, limit: int, coding: bytes) -> int:
    if len(payload) < PREFIX:
        raise _cut()
    if payload[0]:
        _require_known(payload[0], coding)
    size = int.from_bytes(payload[1:PREFIX], "big")
    if size > limit:
        raise Refused(Status.RESOURCE_EXHAUSTED, "too_large", f"a message of {size} bytes; {limit} are the limit")
    return size


def _require_known(flag: int, coding: bytes) -> None:
    """Let a packed message pass that can be unpacked; the codes are those of gRPC's text on compression."""
    if flag != 1 or coding == IDENTITY:
        told = "grpc-encoding does not say how" if flag == 1 else f"its first byte is {flag}, and not 0 or 1"
        raise Refused(Status.INTERNAL, "compressed_message", f"a packed message: {told}")
    if coding not in CODINGS:
        told = f"grpc-encoding {coding[:60].decode('latin-1')!r} is not known here; send gzip, deflate or identity"
        raise Refused(Status.UNIMPLEMENTED, "unknown_content_encoding", told)


def _cut() -> Refused:
    return Refused(Status.INTERNAL, "truncated_message", "the message ends before its length")


def _several() -> Refused:
    return Refused(Status.UNIMPLEMENTED, "several_messages", "more than one message in a call that takes one")
