"""The open streams of one connection, and the ways they end."""

from __future__ import annotations

from typing import Final, Protocol

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.fields import HEAD, LIGHT_BYTES, WRONG_TYPE, Head, Refused, reason_field, tail
from changeover.gateway.door.http2.frames import Broken, Code
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.stream import Stream
from changeover.gateway.door.limits import MIB

MOST_ID: Final = 2**30
"""Clients get new connections long before the numbers of their streams run out."""
_HEAVY_BYTES: Final = MIB
"""Decoded fields of all open calls of a connection, of those over `LIGHT_BYTES`: a few bytes stand for many."""


class Desk(Protocol):
    """Who takes the calls: the connection."""

    def admit(self, head: Head) -> None:
        """A call has begun.

        Raises:
            Refused: it is not to be taken in.
        """

    def take(self, stream: Stream, body: memoryview) -> None:
        """A call is complete."""

    def cancelled(self, stream: Stream) -> None:
        """The client has reset a stream, or had to be stopped."""

    def granted(self, stream: Stream) -> None:
        """There is room for a message that waited."""

    def sent(self, stream: Stream, whole: bool) -> None:
        """An answer was sent, wholly or as much as goes."""


class Streams:
    """Streams by id: calls on their way in, with the application, or with an answer on its way out.

    Attributes:
        open: the streams.
        last: the highest id seen.
        quiet_since: when the connection was opened or last had a call.
        limit: streams above it came after the final GOAWAY and are not looked at.
        heavy: bytes of their fields, of those calls that have unusually many; charged to the gateway's budget.
        credit: bytes of data that were taken, and that the connection's window was not opened by yet.
    """

    __slots__ = ("_desk", "_gate", "_out", "credit", "heavy", "last", "limit", "open", "quiet_since")

    def __init__(self, gate: Gate, out: Outbound, desk: Desk) -> None:
        self._gate = gate
        self._out = out
        self._desk = desk
        self.open: dict[int, Stream] = {}
        self.last = 0
        self.heavy = 0
        self.quiet_since = gate.now
        self.limit = frames.MAX_STREAM
        self.credit = 0

    def add(self, stream: Stream) -> bool:
        """Take a new call; returns whether there is room for its fields."""
        weight = stream.head.size
        if weight > LIGHT_BYTES:
            if self.heavy + weight > _HEAVY_BYTES:
                return False
            self.heavy += weight
            self._gate.budget.charge(weight)
        self.open[stream.id] = stream
        return True

    def check_known(self, number: int) -> None:
        """Raise when no stream of this number was ever open: nothing but HEADERS may begin one.

        Raises:
            Broken: the frame is against the rules.
        """
        if not number or self.last < number <= self.limit:
            raise Broken(Code.PROTOCOL_ERROR, f"a frame of stream {number}, which is not open")

    def refuse(self, stream: Stream, refusal: Refused) -> None:
        """Answer a call that the application does not get."""
        self._gate.counts.refused += 1
        self._close_with(stream, first(stream) + tail(refusal.status, refusal.message) + reason_field(refusal.reason))

    def turn_away(self, stream: Stream) -> None:
        """Answer what is no gRPC call: 415, as its protocol says."""
        self._gate.counts.refused += 1
        self._close_with(stream, WRONG_TYPE)

    def _close_with(self, stream: Stream, block: bytes) -> None:
        self._out.answer(stream, block, None, b"")
        if not stream.ended:
            self._out.write(frames.reset(stream.id, Code.NO_ERROR))
        self.close(stream)

    def reset(self, stream: Stream, code: Code) -> None:
        """End a call whose client breaks the rules, or does not read."""
        self._out.write(frames.reset(stream.id, code))
        self.cancel(stream)

    def cancel(self, stream: Stream) -> None:
        """Nobody wants the answer any more."""
        self.close(stream)
        self._desk.cancelled(stream)

    def close(self, stream: Stream) -> None:
        """Forget a stream and give back what it holds."""
        if self.open.pop(stream.id, None) is not None:
            self.quiet_since = self._gate.now
            weight = stream.head.size
            if weight > LIGHT_BYTES:
                self.heavy -= weight
                self._gate.budget.give(weight)
        if stream.talk is not None:
            stream.talk.drop()
            stream.talk = None  # it refers to the stream
        self.release(stream)
        if stream.out is not None:
            self._out.drop(stream)

    def release(self, stream: Stream) -> None:
        """The message is not held any more."""
        if stream.on_grant is not None:
            stream.on_grant = None
            self._gate.budget.forget(stream)
        self.credit += stream.held
        stream.held = 0
        stream.message = stream.unpacking = None
        if stream.charged:
            charged, stream.charged = stream.charged, 0
            self._gate.budget.give(charged)


def first(stream: Stream) -> bytes:
    """The head of what is sent next: empty when an answer has begun."""
    return b"" if stream.talk is not None and stream.talk.begun and not stream.start else HEAD
