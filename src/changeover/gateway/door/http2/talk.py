"""Calls whose clients send many messages: each is a call of its own to the application, answered in their order."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, cast

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.fields import HEAD, TAIL_OK, Status, tail
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.stream import Stream

if TYPE_CHECKING:
    from changeover.gateway.door.http2.calls import Calls
    from changeover.gateway.door.http2.connection import Http2Door

MOST_ASKED: Final = 64
"""Messages of one talk with the application, or answered out of their turn."""
SILENT_SECONDS: Final = 600.0
"""How long a client may keep a talk open without a word."""
_LEAVING: Final = tail(Status.UNAVAILABLE, "the server is leaving; begin again")


class Teller(Protocol):
    """Who is told: the connection."""

    def sent(self, stream: Stream, whole: bool) -> None:
        """An answer was sent, wholly or as much as goes."""

    def granted(self, stream: Stream) -> None:
        """There is room for further messages."""


class Talk:
    """What a stream has besides, when its client sends many messages.

    Attributes:
        early: data of messages that have no room yet.
        begun: a part of the answer was given to `Outbound`.
        over: the end was, or nobody wants it any more.
        parked: a message waits behind unsent answers of the connection, or is being unpacked.
    """

    __slots__ = (
        "_began", "_gate", "_line", "_out", "_parting", "_stream", "_teller", "begun", "early", "over", "parked",
    )  # fmt: skip

    def __init__(self, stream: Stream, gate: Gate, out: Outbound, teller: Teller) -> None:
        self._stream = stream
        self._gate = gate
        self._out = out
        self._teller = teller
        self._line: deque[Place] = deque()
        self._began = stream.began
        self._parting = self.begun = self.over = self.parked = False
        self.early = bytearray()

    @property
    def full(self) -> bool:
        """No further message is taken: many are being answered, the client does not read, or the connection ends."""
        stream = self._stream
        if self.parked or stream.out is not None or len(self._line) >= MOST_ASKED:
            return True
        return self._parting and not stream.ended

    def cut(self, size: int) -> bytes:
        """The next bytes of what came early, up to so many."""
        part = bytes(self.early[:size])
        del self.early[:size]
        return part

    def ask(self, calls: Calls, door: Http2Door, body: memoryview) -> Turn:
        """A message is complete: its call, with the next place in the line."""
        stream = self._stream
        place = Place(self, calls, door, stream.charged)
        stream.charged, stream.began, self.parked = 0, time.monotonic(), False
        place.call = call = Turn(place, stream, body)
        if call.timeout is not None:
            call.timeout = max(0.0, call.timeout - (call.received - self._began))
        self._line.append(place)
        return call

    def settle(self, place: Place, head: bytes, body: Sequence[bytes | memoryview] | None) -> None:
        """A message has its answer, which goes out when all before it have theirs; without a body it ends the talk."""
        self._give(place)
        if place is not self._line[0]:
            kept = None if body is None else [b"".join(body)]
            place.charged = 0 if kept is None else len(kept[0])
            self._gate.budget.charge(place.charged)
            place.said = head, kept
            return
        self._line.popleft()
        self._say(head, body)
        while self._line and (said := self._line[0].said) is not None:
            self._give(self._line.popleft())
            self._say(*said)
        self.look()

    def tell(self, place: Place, body: Sequence[bytes | memoryview]) -> None:
        """A message of an answer that goes on. Nobody behind it in the line has a turn any more."""
        if not place.lasting:
            place.lasting = True
            place.calls.working -= 1
        if place is self._line[0]:
            self._say(HEAD, body)
            self.look()

    def look(self) -> None:
        """Is it over, and if not: who is waited for?"""
        stream = self._stream
        if self._parting and not self.over and self._line and self._line[0].lasting:
            self._end(_LEAVING)
        if not self.over and not self._line and not self.parked:
            if stream.ended and not self.early and stream.message is None:
                self._end(TAIL_OK)
            elif self._parting and not stream.ended:
                self._end(_LEAVING)
        if stream.out is not None:
            stream.due = self._gate.now + self._gate.limits.write_time(self._out.unsent)
        elif not self.parked and (self.full or (stream.message is None and self._line)):
            stream.due = math.inf
        elif not self.parked and stream.message is None:
            stream.due = self._gate.now + SILENT_SECONDS
        if self.early and not self.full and stream.on_grant is None:
            self._teller.granted(stream)
        self._teller.sent(stream, self.over and stream.out is None)

    def part(self) -> None:
        """The connection ends: what was taken is answered; a client that has not said all begins again elsewhere."""
        self._parting = True
        if not self.over:
            self.look()

    def drop(self) -> None:
        """Nobody wants the answers any more."""
        self.over = True
        self.early.clear()
        line, self._line = self._line, deque()
        for place in line:
            self._give(place)
            if place.said is None:
                place.calls.working -= not place.lasting
                self._gate.counts.abandoned += not place.lasting
                place.call.abandon()

    def _say(self, head: bytes, body: Sequence[bytes | memoryview] | None) -> None:
        if body is None:
            self._end(head[len(HEAD) :])  # a call's error is the head and the end in one
        else:
            self._out.say(self._stream, b"" if self.begun else head, body)
            self.begun = True

    def _end(self, block: bytes) -> None:
        stream = self._stream
        self._out.end(stream, block if self.begun else HEAD + block)
        self.drop()

    def _give(self, place: Place) -> None:
        charged, place.charged = place.charged, 0
        self._gate.budget.give(charged)


class Turn(Call):
    """A message of a talk, which may have an answer of many messages."""

    __slots__ = ()

    def tell(self, body: Sequence[bytes | memoryview]) -> None:
        """Send a message of an answer that goes on until `fail`, or the client goes away; then it does nothing."""
        place = self._door
        if place is not None:
            cast("Place", place).tell(body)


class Place:
    """A message's place in the line of a talk: what a call has for its connection.

    Attributes:
        call: of the message.
        certified: the client has shown a certificate that was verified.
        calls: who counts it while the application works.
        charged: bytes of the gateway's budget taken for it.
        lasting: its answer goes on until somebody ends it; it is no work that the connection waits for.
        said: its answer, while it waits for those before it.
    """

    __slots__ = ("_door", "_talk", "call", "calls", "certified", "charged", "lasting", "said")

    call: Turn

    def __init__(self, talk: Talk, calls: Calls, door: Http2Door, charged: int) -> None:
        self._talk = talk
        self._door = door
        self.certified = door.certified
        self.calls = calls
        self.charged = charged
        self.lasting = False
        self.said: tuple[bytes, Sequence[bytes | memoryview] | None] | None = None

    def answer(self, stream: Stream, head: bytes, body: Sequence[bytes | memoryview] | None, end: bytes) -> None:
        """Take the message's answer."""
        del stream, end  # it goes on
        self.calls.working -= not self.lasting
        self._talk.settle(self, head, body)

    def tell(self, body: Sequence[bytes | memoryview]) -> None:
        """Send a message of the answer."""
        self._talk.tell(self, body)

    def abort(self) -> None:
        """End the connection at once."""
        self._door.abort()
