"""The calls of one connection that the application has, or gets when the client has read what it was answered."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2.call import Call, CallApp
from changeover.gateway.door.http2.fields import Head, Refused, Status, overloaded
from changeover.gateway.door.http2.frames import Code
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.stream import Stream
from changeover.gateway.door.http2.streams import Streams
from changeover.gateway.door.limits import MIB

if TYPE_CHECKING:
    from changeover.gateway.door.http2.connection import Http2Door

_logger = logging.getLogger(__name__)

UNSENT_BYTES: Final = 32 * MIB
"""Unsent answers of one connection at which its further calls wait."""
TOGETHER_BYTES: Final = 16 << 10
"""Most bytes of a message that is handed over with others: about a millisecond's work, whatever it holds."""


class Calls:
    """Hands complete calls to the application.

    Attributes:
        working: calls with the application.
    """

    __slots__ = ("_app", "_gate", "_out", "_parked", "_streams", "working")

    def __init__(self, gate: Gate, app: CallApp, out: Outbound, streams: Streams) -> None:
        self._gate = gate
        self._app = app
        self._out = out
        self._streams = streams
        self._parked: deque[tuple[Stream, memoryview]] = deque()
        self.working = 0

    def admit(self, head: Head, certified: bool) -> None:
        """A call has begun; a defect of the application is told as one.

        Raises:
            Refused: its message is not to be taken in.
        """
        try:
            self._app.admit(head, certified)
        except Refused:
            raise
        except Exception:
            _logger.exception("the application raised")
            raise Refused(Status.INTERNAL, "internal", "a defect in the server") from None

    def take(self, door: Http2Door, stream: Stream, body: memoryview) -> None:
        """A call is complete: into the line of those that `go_on` hands over.

        Small ones that were read together are handed over together, which takes a seventh off their time: the door's
        code is in the processor's caches for all of them, then the application's. A larger one may take long, so others
        have their turn before the next; and a message of a talk does not wait for calls.
        """
        waits = self._out.unsent > UNSENT_BYTES
        if not waits and (len(body) > TOGETHER_BYTES if stream.talk is None else not self._parked):
            self._hand_over(door, stream, body)
            return
        stream.due = self._gate.now + self._gate.limits.wait_seconds
        self._parked.append((stream, body))
        if stream.talk is not None:
            stream.talk.parked = True

    @property
    def may_go_on(self) -> bool:
        """Whether a call that stands in the line may go to the application now."""
        return bool(self._parked) and self._out.unsent <= UNSENT_BYTES

    def go_on(self, door: Http2Door) -> None:
        """Those in the line go to the application, as far as the client reads answers."""
        while self._parked and self._out.unsent <= UNSENT_BYTES:
            stream, body = self._parked.popleft()
            if stream.id in self._streams.open:
                stream.due = math.inf
                self._hand_over(door, stream, body)
                if stream.talk is not None and not stream.talk.over:
                    stream.talk.look()

    def answer(self, stream: Stream, head: bytes, body: Sequence[bytes | memoryview] | None, end: bytes) -> bool:
        """The application has answered; returns whether all was sent."""
        self.working -= 1
        stream.call = None
        if self._out.answer(stream, head, body, end):
            return True
        self._streams.release(stream)
        stream.due = self._gate.now + self._gate.limits.write_time(self._out.unsent)
        return False

    def abandon(self, stream: Stream) -> None:
        """Nobody wants the answer any more: tell the application when it has the call."""
        call = stream.call
        if call is not None:
            self.working -= 1
            stream.call = None
            self._gate.counts.abandoned += 1
            call.abandon()

    def overdue(self, stream: Stream) -> bool:
        """End a call that stood in the line for too long, or whose answer nobody takes; returns whether it is one."""
        if stream.out is not None:
            self._gate.counts.expired += 1
            self._streams.reset(stream, Code.CANCEL)
            return True
        entry = next((entry for entry in self._parked if entry[0] is stream), None)
        if entry is None:
            return False
        self._parked.remove(entry)
        self._gate.counts.shed += 1
        self._streams.refuse(stream, overloaded())
        return True

    def part(self) -> None:
        """The connection takes no more calls: talks end when their clients have all answers."""
        for stream in list(self._streams.open.values()):
            if stream.talk is not None:
                stream.talk.part()

    def drop(self) -> None:
        """The connection is over, and all its calls."""
        self._parked.clear()
        for stream in list(self._streams.open.values()):
            self._streams.close(stream)
            self.abandon(stream)

    def _hand_over(self, door: Http2Door, stream: Stream, body: memoryview) -> None:
        if stream.talk is None:
            stream.call = call = Call(door, stream, body)
        else:
            call = stream.talk.ask(self, door, body)
        self.working += 1
        self._gate.counts.requests += 1
        try:
            self._app(call)
        except Exception:
            _logger.exception("the application raised")
            call.fail(Status.INTERNAL, "a defect in the server")
