"""Data of calls to whole messages, within the gateway's budget.

A client may send `DEFAULT_WINDOW` bytes of a call unasked. When the message's prefix tells how long it is and the
budget has room, its window is opened by exactly the rest. So no call stands in the way of another one, and what nobody
allowed is never in memory.
"""

from __future__ import annotations

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.fields import Refused, Status, overloaded
from changeover.gateway.door.http2.message import Message, whole
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.stream import Stream
from changeover.gateway.door.http2.streams import Desk, Streams


class Collector:
    """Takes what comes of the calls of one connection; complete ones go to the desk."""

    __slots__ = ("_desk", "_gate", "_line", "_out", "_streams")

    def __init__(self, gate: Gate, out: Outbound, streams: Streams, desk: Desk) -> None:
        self._gate = gate
        self._out = out
        self._streams = streams
        self._desk = desk
        self._line = f"connection {id(self):x}"  # so that connections take turns at the budget

    def feed(self, stream: Stream, payload: bytes | memoryview) -> None:
        """The next data of a call; with `stream.ended` the last."""
        try:
            self._feed(stream, payload)
        except Refused as refusal:
            self._streams.refuse(stream, refusal)

    def allow(self, stream: Stream) -> None:
        """A message that waited for the budget has its place, if it is still wanted."""
        message = stream.message
        if message is not None:
            stream.due = self._gate.now + self._gate.limits.body_time(message.received)
            self._grant(stream, message)

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
                body = whole(payload, limit)
                if not body or self._gate.budget.take(len(body)):  # such as health: it never waits
                    stream.charged = len(body)
                    self._complete(stream, body)
                    return
            message = stream.message = Message(limit)
        message.feed(payload)
        if stream.ended:
            message.end()
        if message.granted:
            self._go_on(stream, message)
        elif message.size >= 0:
            self._want(stream, message, len(payload))

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
            self._complete(stream, message.view())
            return
        lack = message.lacking - stream.room
        if lack > 0:
            stream.room += lack
            self._out.write(frames.window_update(stream.id, lack))

    def _complete(self, stream: Stream, body: memoryview) -> None:
        stream.wait_for_nothing()
        self._desk.take(stream, body)
