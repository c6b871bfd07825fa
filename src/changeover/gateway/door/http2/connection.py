"""One HTTP/2 connection: bytes in, whole calls to the application, bytes out.

There is no task, future or timer per call; the gate's tick looks at one deadline per connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Final, cast

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2.call import CallApp
from changeover.gateway.door.http2.calls import Calls
from changeover.gateway.door.http2.calm import Calm
from changeover.gateway.door.http2.collector import Collector
from changeover.gateway.door.http2.control import Control
from changeover.gateway.door.http2.fields import Head
from changeover.gateway.door.http2.frames import Broken, Code
from changeover.gateway.door.http2.inbound import Inbound
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.phase import Phase
from changeover.gateway.door.http2.stream import Stream
from changeover.gateway.door.http2.streams import MOST_ID, Streams
from changeover.gateway.door.http2.turns import Turns
from changeover.gateway.door.kernel import Kernel

_logger = logging.getLogger(__name__)

_SWEEP_SECONDS: Final = 0.5
_LEAVE_SECONDS: Final = 1.0

_OPENING, _OPEN, _LEAVING, _LEFT, _LINGER, _GONE = Phase


class Http2Door(asyncio.Protocol):
    """The protocol of one connection.

    Attributes:
        certified: the client has shown a certificate that was verified.
        deadline: `time.monotonic()` at which `expire` is due.
    """

    __slots__ = (
        "_app", "_calls", "_calm", "_collector", "_control", "_due", "_ended", "_gate", "_in", "_kernel", "_out",
        "_phase", "_secure", "_streams", "_transport", "_turns", "certified", "deadline",
    )  # fmt: skip

    def __init__(self, gate: Gate, app: CallApp) -> None:
        self._gate, self._app = gate, app
        self._phase = _OPENING
        self._calm = Calm(gate.now)
        self._ended = self.certified = False
        self._due = self.deadline = gate.now + gate.limits.header_seconds

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the gate's connections and tell the client the rules."""
        gate, calm = self._gate, self._calm
        self._transport = cast(asyncio.Transport, transport)
        self._kernel = Kernel(transport)
        self._secure = transport.get_extra_info("ssl_object") is not None
        self.certified = self._secure and bool(transport.get_extra_info("peercert"))
        self._out = Outbound(gate, self._transport, calm, asyncio.get_running_loop().call_soon)
        self._streams = Streams(gate, self._out, self)
        self._collector = Collector(gate, self._out, self._streams, self)
        self._in = Inbound(gate, self._out, calm, self._streams, self._collector)
        self._control = Control(self._in, self._out, calm, self._streams, self)
        self._calls = Calls(gate, self._app, self._out, self._streams)
        self._turns = Turns(self._transport, self._out, self._control.dispatch, self)
        gate.connections.add(self)
        self._control.greet(gate.limits.header_bytes)

    def data_received(self, data: bytes) -> None:
        """Read frames, or keep them for this connection's next turn."""
        self._turns.feed(data)

    def eof_received(self) -> bool:
        """The client is gone: with gRPC nobody stops sending and waits for answers."""
        self._ended = True
        self._out.flush()  # the transport closes behind what it was given
        return False

    def pause_writing(self) -> None:
        """More is unsent than the transport wants: no further frame is read until it is."""
        self._out.pause()
        if self._phase < _LINGER:
            self._due = self._gate.now + self._gate.limits.write_seconds
            self.deadline = min(self.deadline, self._due)

    def resume_writing(self) -> None:
        """Go on where the connection stood."""
        self._out.resume()
        if self._phase < _LINGER:
            self._due = math.inf if self._phase in (_OPEN, _LEFT) else self._gate.now + _LEAVE_SECONDS
            self._turns.schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back; tell the application of every call it was still at work on."""
        del exc
        self._phase = _GONE
        self._gate.connections.discard(self)
        self._out.resume()
        self._turns.stop()
        self._calls.drop()
        self._control.forget()
        # They refer to this connection: nothing of it shall wait for the collector.
        del self._calls, self._collector, self._control, self._in, self._streams, self._turns

    # -- what the application calls, through Call

    def answer(self, stream: Stream, head: bytes, body: Sequence[bytes | memoryview] | None, end: bytes) -> None:
        """Send a call's answer."""
        self.sent(stream, self._calls.answer(stream, head, body, end))

    def sent(self, stream: Stream, whole: bool) -> None:
        """An answer was sent, wholly or as much as goes."""
        if whole:
            self._finished(stream)
            self._rest()
        else:
            self._send()

    # -- what the gate calls

    @property
    def busy(self) -> int:
        """Calls with the application."""
        return self._calls.working

    @property
    def quiet_since(self) -> float:
        """When the connection was opened or last had a call."""
        return self._streams.quiet_since

    def duck(self) -> None:
        """The gateway leaves: end this connection without losing a call; a new one has its first calls first."""
        if self._streams.last:
            self.leave()

    def leave(self) -> None:
        """Ask the client for another connection; calls that are here, or on their way, are answered."""
        if self._phase is _OPEN:
            self._phase = _LEAVING
            if not self._out.stuck:  # else the client has its time to read; the second begins after that
                self._due = self._gate.now + _LEAVE_SECONDS
                self.deadline = min(self.deadline, self._due)
            self._control.ask_to_leave()

    def expire(self) -> None:
        """The deadline is over: see who owes what."""
        now = self._gate.now
        self._calm.pass_time(now)
        for stream in [stream for stream in self._streams.open.values() if stream.due <= now]:
            if not self._calls.overdue(stream):
                self._collector.overdue(stream, now)
        self._in.flush()
        self._rest()
        if self._due <= now:
            self._connection_due()
        head_due = self._in.head_due(self._turns.idle)
        if head_due <= now and self._phase is _OPEN:
            self._gate.counts.expired += 1
            self._say_goodbye("timeout")
        idle_until = math.inf
        if self._phase is _OPEN and not self._streams.open:
            idle_until = self.quiet_since + self._gate.limits.idle_seconds
            if idle_until <= now:
                self.leave()
        next_look = now + _SWEEP_SECONDS if self._streams.open else idle_until
        self.deadline = min(self._due, head_due, max(next_look, now + _SWEEP_SECONDS))

    def close_if_idle(self) -> None:
        """Close unless a call is in progress or has just arrived."""
        if not self._streams.open and self._turns.idle and self._phase < _LINGER:
            self._say_goodbye("leaving")

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    # -- what the parts call

    def admit(self, head: Head) -> None:
        """A call has begun; raises `Refused` when its message is not to be taken in."""
        self._calls.admit(head, self.certified)

    def take(self, stream: Stream, body: memoryview) -> None:
        """A call is complete."""
        self._calls.take(self, stream, body)
        if self._gate.ducking or stream.id > MOST_ID:
            self.leave()

    def cancelled(self, stream: Stream) -> None:
        """The client does not want the answer any more."""
        self._calls.abandon(stream)
        if self._calm.reset():
            self.leave()
        self._rest()

    def granted(self, stream: Stream) -> None:
        """There is room, perhaps in the middle of another connection's work: go on in a turn of our own."""
        self._collector.ready[stream] = None
        self._turns.schedule()

    def opened(self) -> None:
        """The client speaks HTTP/2."""
        self._phase = _OPEN
        self._due = math.inf
        self.deadline = self._gate.now + self._gate.limits.idle_seconds

    def heard(self) -> None:
        """The client has heard the first GOAWAY, and all it sent before that is here: draw the line."""
        if self._phase is _LEAVING:
            self._phase = _LEFT
            if not self._out.stuck:
                self._due = math.inf
            self._streams.limit = self._streams.last
            self._control.goaway(Code.NO_ERROR, "leaving")
            self._calls.part()
            self._rest()

    # -- turns

    def begin(self, now: float, until: float) -> None:
        """Messages that waited for the budget have their place first."""
        self._in.now = now
        if self._collector.ready and self._collector.allow(until):
            self._turns.schedule()

    def rest(self) -> None:
        """Calls that came together go on together."""
        self._calls.go_on(self)

    def end(self) -> None:
        """Send what the turn has brought; calls that stood behind unsent answers go on."""
        self._in.flush()
        if self._out.waiting:
            self._send()
        self._calls.go_on(self)
        next_look = self._gate.now + _SWEEP_SECONDS if self._streams.open else math.inf
        self.deadline = min(self.deadline, next_look, self._in.head_due(self._turns.idle))
        self._rest()

    def broken(self, broken: Broken) -> None:
        """The client broke a rule of the connection: say which, and end it with all its calls."""
        self._gate.counts.refused += 1
        _logger.debug("a connection is ended: %s", broken.message)
        self._control.goaway(broken.code, broken.message)
        self._end()

    def _send(self) -> None:
        for stream in self._out.pump():
            self._finished(stream)
        if self._calls.may_go_on:
            self._turns.schedule()
        self._rest()

    def _finished(self, stream: Stream) -> None:
        if stream.talk is not None and not stream.talk.over:  # its client reads again
            self.granted(stream)
            return
        self._streams.close(stream)
        self._calm.answered()

    def _rest(self) -> None:
        """When a connection that leaves has no call left: end."""
        if self._phase is _LEFT and not self._streams.open:
            self._end()

    # -- the end

    def _say_goodbye(self, why: str) -> None:
        self._control.goaway(Code.NO_ERROR, why)
        self._end()

    def _connection_due(self) -> None:
        if self._phase is _LEAVING and not self._out.stuck:
            self.heard()  # or it never will
        elif self._phase is _LINGER and self._secure and not self._out.stuck and self._kernel.sending():
            self._due = self._gate.now + self._gate.limits.linger_seconds  # the transport's own time-out bounds this
        else:
            self._gate.counts.expired += self._phase is not _LINGER
            self.abort()

    def _end(self) -> None:
        """No more frames; input is thrown away for a while, so that what was sent arrives instead of a reset."""
        self._phase = _LINGER
        self._turns.stop()
        self._calls.drop()
        self._out.close()
        limits, unsent = self._gate.limits, self._transport.get_write_buffer_size()
        self._due = self.deadline = self._gate.now + (limits.write_time(unsent) if unsent else limits.linger_seconds)
        if self._ended or self._transport.is_closing() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
