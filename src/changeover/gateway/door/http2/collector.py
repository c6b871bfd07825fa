"""Data of calls to whole messages, within the gateway's budget.

A client may send `DEFAULT_WINDOW` bytes of a call unasked. When the message's prefix tells how long it is and the
budget has room, its window is opened by exactly the rest. So no call stands in the way of another one, and what nobody
allowed is never in memory.
"""

from __future__ import annotations

import time
from typing import Final

from changeover.errors import InvalidRequest, Overloaded, TooLarge
from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.fields import Refused, Status, overloaded
from changeover.gateway.door.http2.message import Message, missing, whole
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.stream import Stream
from changeover.gateway.door.http2.streams import Desk, Streams
from changeover.gateway.door.http2.talk import Talk
from changeover.gateway.door.limits import KIB
from changeover.protocol.content_coding import MOST_UNPACKED, Unpacking

SMALL_UNPACKED: Final = 4 * KIB
"""Bytes of a packed message once it is unpacked, of all calls but `Gate.large`: a bomb keeps all others waiting."""


class Collector:
    """Takes what comes of the calls of one connection; complete ones go to the desk.

    Attributes:
        ready: calls that are to go on in a turn of the connection, each once.
    """

    __slots__ = ("_desk", "_gate", "_line", "_out", "_streams", "ready")

    def __init__(self, gate: Gate, out: Outbound, streams: Streams, desk: Desk) -> None:
        self._gate = gate
        self._out = out
        self._streams = streams
        self._desk = desk
        self._line = f"connection {id(self):x}"  # so that connections take turns at the budget
        self.ready: dict[Stream, None] = {}

    def begin(self, stream: Stream) -> None:
        """A call has begun: nothing of it is taken in before the application has let it pass."""
        try:
            self._desk.admit(stream.head)
            if stream.head.path not in self._gate.talks:
                if stream.ended:
                    raise missing()
                return
        except Refused as refusal:
            self._streams.refuse(stream, refusal)
            return
        stream.talk = Talk(stream, self._gate, self._out, self._desk)
        self.feed(stream, b"")

    def feed(self, stream: Stream, payload: bytes | memoryview) -> None:
        """The next data of a call; with `stream.ended` the last."""
        try:
            if stream.talk is None:
                self._feed(stream, payload)
            elif not stream.talk.over:
                self._hear(stream, stream.talk, payload)
        except Refused as refusal:
            self._streams.refuse(stream, refusal)

    def allow(self, until: float) -> bool:
        """Messages that waited have their place, one and as many as go before `until`; returns whether any are left."""
        for _ in range(len(self.ready)):
            stream = next(iter(self.ready))
            del self.ready[stream]
            self._allow(stream)
            if time.monotonic() >= until:
                break
        return bool(self.ready)

    def _allow(self, stream: Stream) -> None:
        """A message that waited for the budget has its place, or its next piece is unpacked, if it is still wanted."""
        message = stream.message
        if stream.unpacking is not None:
            self._unpack_more(stream, stream.unpacking)
        elif stream.talk is not None:
            if message is not None and stream.on_grant is None:
                if stream.charged and not message.granted:
                    message.grant()
                stream.began = self._gate.now  # until now it was not the client that was slow
                stream.due = stream.began + self._gate.limits.body_time(message.received)
            self.feed(stream, b"")
        elif message is not None:
            stream.due = self._gate.now + self._gate.limits.body_time(message.received)
            try:
                self._grant(stream, message)
            except Refused as refusal:  # of what is packed: all of it is here
                self._streams.refuse(stream, refusal)

    def overdue(self, stream: Stream, now: float) -> None:
        """The client owes data, or the budget has no room: end the call, unless data is coming fast enough."""
        message = stream.message
        if stream.on_grant is not None:
            self._gate.counts.shed += 1
            self._streams.refuse(stream, overloaded())
        elif message is not None and (due := stream.began + self._gate.limits.body_time(message.received)) > now:
            stream.due = due
        else:
            self._gate.counts.expired += 1
            late = Refused(Status.DEADLINE_EXCEEDED, "timeout", "the message did not arrive in time")
            self._streams.refuse(stream, late)

    def _feed(self, stream: Stream, payload: bytes | memoryview) -> None:
        limit = self._gate.limits.body_bytes
        message = stream.message
        if message is None:
            if stream.ended:
                body = whole(payload, limit, stream.head.coding)
                if not body or self._gate.budget.take(len(body)):  # such as health: it never waits
                    stream.charged = len(body)
                    if payload[0]:
                        self._complete(stream, body, packed=True)
                    else:
                        self._desk.take(stream, body)
                    return
            message = stream.message = Message(limit, stream.head.coding)
        message.feed(payload)
        if stream.ended:
            message.end()
        if message.granted:
            self._go_on(stream, message)
        elif message.size >= 0:
            self._want(stream, message, len(payload))

    def _hear(self, stream: Stream, talk: Talk, payload: bytes | memoryview) -> None:
        """Messages of a talk, as many as have room; what comes early keeps the windows closed."""
        self._streams.credit += stream.held
        stream.held = 0
        talk.early += payload
        while talk.early and not talk.full and not talk.over and self._next(stream, talk):
            pass
        if talk.over:
            return
        message = stream.message
        if stream.ended and message is not None and not talk.early and message.wanted:
            message.end()  # raises: nothing more comes
        stream.held = len(talk.early) + (0 if message is None or message.granted else message.received)
        self._streams.credit -= stream.held
        if not talk.early and stream.on_grant is None and not stream.ended:
            self._reopen(stream, 0 if message is None else message.wanted)
        talk.look()

    def _next(self, stream: Stream, talk: Talk) -> bool:
        """Take the next piece of a message; returns whether there is room for more."""
        message = stream.message
        if message is None:
            message = stream.message = Message(self._gate.limits.body_bytes, stream.head.coding)
            stream.began = self._gate.now
            stream.due = stream.began + self._gate.limits.body_seconds
        if not message.granted and message.size >= 0:
            return False
        message.feed(talk.cut(message.wanted))
        if message.size >= 0 and not message.granted:
            if message.size and not self._gate.budget.take(message.size):
                stream.on_grant = self._desk.granted
                stream.due = self._gate.now + self._gate.limits.wait_seconds
                self._gate.budget.wait(stream, message.size, self._line)
                return False
            stream.charged = message.size
            message.grant()
        if message.granted and not message.wanted:
            stream.message = None
            self._hand_on(stream, message.view(), message.packed)
            return not message.packed  # a few bytes may have taken long: the others have their turn
        return True

    def _reopen(self, stream: Stream, wanted: int) -> None:
        """Open a talk's window for the rest of a message and what may come after it, when that is worth a frame."""
        more = frames.DEFAULT_WINDOW + wanted - stream.room
        if more >= frames.DEFAULT_WINDOW // 2:
            stream.room += more
            self._out.write(frames.window_update(stream.id, more))

    def _want(self, stream: Stream, message: Message, size: int) -> None:
        """The size is known: take its bytes of the budget, or stand in line for them."""
        budget = self._gate.budget
        if stream.on_grant is None and stream.charged == 0:
            if not message.size or budget.take(message.size):
                stream.charged = message.size
                self._grant(stream, message)
                return
            stream.on_grant = self._desk.granted
            stream.due = self._gate.now + self._gate.limits.wait_seconds
            budget.wait(stream, message.size, self._line)
        # While it waits, the connection's window stays closed by what it has sent.
        stream.held += size
        self._streams.credit -= size

    def _grant(self, stream: Stream, message: Message) -> None:
        message.grant()
        self._streams.credit += stream.held
        stream.held = 0
        self._go_on(stream, message)

    def _go_on(self, stream: Stream, message: Message) -> None:
        """A message that has its place: complete, or its window is opened by what is missing."""
        if stream.ended:
            stream.message = None
            self._complete(stream, message.view(), message.packed)
            return
        lack = message.lacking - stream.room
        if lack > 0:
            stream.room += lack
            self._out.write(frames.window_update(stream.id, lack))

    def _complete(self, stream: Stream, body: memoryview, packed: bool) -> None:
        stream.wait_for_nothing()
        self._hand_on(stream, body, packed)

    def _hand_on(self, stream: Stream, body: memoryview, packed: bool) -> None:
        if not packed:
            self._desk.take(stream, body)
            return

        def take(size: int) -> bool:
            taken = self._gate.budget.take(size)
            stream.charged += size * taken
            return taken

        most = MOST_UNPACKED if stream.head.path in self._gate.large else SMALL_UNPACKED
        stream.unpacking = Unpacking(body, stream.head.coding, min(self._gate.limits.body_bytes, most), take)
        self._unpack(stream, stream.unpacking)

    def _unpack(self, stream: Stream, unpacking: Unpacking) -> None:
        """A piece of a packed message, taken from the budget before there is more; the next one in another turn.

        Raises:
            Refused: it is not packed so, over the limit, or there is no room for it now.
        """
        try:
            found = unpacking.step()
        except Overloaded:
            self._gate.counts.shed += 1
            raise overloaded() from None
        except TooLarge as error:
            raise Refused(Status.RESOURCE_EXHAUSTED, error.reason, error.message) from None
        except InvalidRequest as error:
            raise Refused(Status.INVALID_ARGUMENT, error.reason, error.message) from None
        if stream.talk is not None:
            stream.talk.parked = found is None
        if found is None:
            stream.wait_for_nothing()
            self._desk.granted(stream)
            return
        stream.unpacking = None
        stream.charged -= unpacking.packed
        self._gate.budget.give(unpacking.packed)
        self._desk.take(stream, found)

    def _unpack_more(self, stream: Stream, unpacking: Unpacking) -> None:
        try:
            self._unpack(stream, unpacking)
        except Refused as refusal:
            self._streams.refuse(stream, refusal)
        else:
            if stream.talk is not None and stream.unpacking is None:
                self.feed(stream, b"")
