"""Header blocks of calls: what a client may send (RFC 9113 section 8, gRPC over HTTP/2) and what it is told (pure)."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from changeover.gateway.door.http2.hpack import Decoder, Field, encode, size_of

_KEPT_HEADS: Final = 64
_KEPT_BYTES: Final = 1024
LIGHT_BYTES: Final = 2048
"""Decoded fields up to this size are usual: they are kept for the next call, and cost the client nothing."""

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(rb"[^\x00\r\n]*")
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_HOP: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_NEEDED: Final = frozenset((b":method", b":scheme", b":path"))
_MESSAGE_BYTES: Final = 2048


class Status(enum.IntEnum):
    """The status codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Malformed(Exception):
    """The fields are no request; only their stream ends, with PROTOCOL_ERROR."""


@dataclass(frozen=True, slots=True)
class Head:
    """The fields of a call.

    Attributes:
        method: POST, for gRPC.
        path: `/package.Service/Method`, as sent.
        headers: names and values as sent, without the pseudo-fields; repeated values joined by `, `.
        timeout: seconds the caller gives, None without a limit.
        grpc: the content type is gRPC's.
        coding: how the messages are packed that are said to be.
        size: of the decoded fields, counted as the protocol does.
    """

    method: bytes
    path: str
    headers: Mapping[bytes, bytes]
    timeout: float | None
    grpc: bool
    coding: bytes = b"identity"
    size: int = 0


class HeadReader:
    """Decodes the blocks of one connection.

    A client's calls have the same fields but for a few, so a block that was seen since the last change of the
    compression table means the same head: it is not decoded again.
    """

    __slots__ = ("_changes", "_decoder", "_known")

    def __init__(self, limit: int) -> None:
        self._decoder = Decoder(limit)
        self._known: dict[bytes, Head] = {}
        self._changes = 0

    def read(self, block: bytes) -> Head:
        """The head of a call.

        Raises:
            Broken: no HPACK, or too much of it.
            Malformed: no request.
        """
        head = self._known.get(block)
        if head is not None:
            return head
        decoder = self._decoder
        fields = decoder.decode(block)
        if decoder.changes != self._changes:
            self._changes = decoder.changes
            self._known.clear()
            return _head(fields)
        head = _head(fields)
        if len(block) <= _KEPT_BYTES and head.size <= LIGHT_BYTES:
            if len(self._known) >= _KEPT_HEADS:
                self._known.clear()
            self._known[block] = head
        return head

    def skip(self, block: bytes) -> None:
        """Follow the compression through a block that nobody wants: trailers, or a refused stream's."""
        if block not in self._known:
            self._decoder.decode(block)
            if self._decoder.changes != self._changes:
                self._changes = self._decoder.changes
                self._known.clear()


def _head(fields: list[Field]) -> Head:
    pseudo: dict[bytes, bytes] = {}
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        if not _VALUE.fullmatch(value):
            raise Malformed("a value with NUL, CR or LF")
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO:
                raise Malformed("a pseudo-field that is unknown, repeated or late")
            pseudo[name] = value
            continue
        if not _NAME.fullmatch(name) or name in _HOP or (name == b"te" and value != b"trailers"):
            raise Malformed("a field that HTTP/2 does not have")
        known = headers.get(name)
        headers[name] = value if known is None else known + b", " + value
    if not pseudo.keys() >= _NEEDED or not pseudo[b":path"]:
        raise Malformed("no method, scheme or path")
    content = headers.get(b"content-type", b"")
    return Head(
        method=pseudo[b":method"],
        path=pseudo[b":path"].decode("latin-1"),
        headers=headers,
        timeout=_seconds(headers.get(b"grpc-timeout")),
        grpc=content.partition(b";")[0].partition(b"+")[0] == b"application/grpc",
        coding=headers.get(b"grpc-encoding", b"identity"),
        size=sum(map(size_of, fields)),
    )


def _seconds(text: bytes | None) -> float | None:
    if text is None:
        return None
    parts = _TIMEOUT.fullmatch(text)
    if parts is None:
        raise Malformed("a grpc-timeout that is none")
    return int(parts[1]) * _UNITS[parts[2]]


def tail(status: int, message: str = "") -> bytes:
    """The block of an answer's end."""
    fields = [(b"grpc-status", b"%d" % status)]
    if message:
        fields.append((b"grpc-message", percent_encoded(message)))
    return encode(fields)


def percent_encoded(message: str) -> bytes:
    """A status message as gRPC sends it: printable ASCII without `%` as it is, all other bytes of UTF-8 as `%XX`."""
    out = bytearray()
    for byte in message.encode("utf-8", "replace"):
        out += bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        if len(out) >= _MESSAGE_BYTES:
            break
    return bytes(out)


_INDEXED_200: Final = b"\x88"
HEAD: Final = _INDEXED_200 + encode(
    [(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity, deflate, gzip")]
)
"""The block every answer of a call begins with."""
WRONG_TYPE: Final = encode([(b":status", b"415")])
TAIL_OK: Final = tail(Status.OK)


class Refused(Exception):
    """A call the door itself refuses; the others of its connection go on.

    Attributes:
        status: of gRPC.
        reason: stable word, as in `errors.py`.
        message: a sentence.
    """

    def __init__(self, status: Status, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


def reason_field(reason: str) -> bytes:
    """The field that carries the reason word of an error."""
    return encode([(b"changeover-reason", reason.encode("ascii"))])


def overloaded() -> Refused:
    """No room for another message; the caller may come again."""
    return Refused(Status.UNAVAILABLE, "overloaded", "too many bytes are in flight here; retry later")
