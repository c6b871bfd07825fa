"""One HTTP/1.1 connection: bytes in, whole requests to the application, bytes out.

A connection has one request in progress. What a client pipelines behind it waits in the inbox; when that
is full, or an answer is unsent, reading is paused. A request whose body is still to come is shown to the application
first: what it answers then is the connection's last answer, and the body is thrown away. There is no task, future or
timer per request: the gate's tick looks at one deadline per connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Final, cast

from changeover.gateway.door.answer import CLOSE, KEEP, KEEP_LEGACY, error_answer
from changeover.gateway.door.gate import Gate
from changeover.gateway.door.phase import Phase
from changeover.gateway.door.reading import Reading
from changeover.gateway.door.refusal import Refused
from changeover.gateway.door.request import App, HttpRequest
from changeover.gateway.door.wire import Wire

__all__ = ["App", "Http1Door", "HttpRequest"]

_logger = logging.getLogger(__name__)
_NO_BODY: Final = memoryview(b"")

# Looked up a few times per request: a global is cheaper than an attribute of an enum.
_READING, _WAITING, _APP, _LINGER, _GONE = Phase


class Http1Door(asyncio.Protocol):
    """The protocol of one connection.

    Attributes:
        certified: the client has shown a certificate that was verified.
        deadline: `time.monotonic()` at which `expire` is due.
        phase: where the connection is.
        quiet_since: when the connection was opened or last answered.
    """

    __slots__ = ("_app", "_gate", "_reading", "_request", "_wire", "certified", "deadline", "phase", "quiet_since")

    _wire: Wire
    _reading: Reading

    def __init__(self, gate: Gate, app: App) -> None:
        self._gate = gate
        self._app = app
        self._request: HttpRequest | None = None
        self.phase = _READING
        self.quiet_since = gate.now
        self.deadline = gate.now + gate.limits.header_seconds

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the gate's connections."""
        self._wire = Wire(self._gate, cast(asyncio.Transport, transport))
        self._reading = Reading(self._gate, self._wire, self)
        self.certified = self._wire.certified
        self._gate.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Read on, until the last answer."""
        if self.phase < _LINGER:
            self._reading.feed(data)

    def eof_received(self) -> bool:
        """The client stopped sending: stay open (true) while it waits for answers; with TLS it is gone."""
        self._wire.ended = True
        if self._wire.secure:
            return False
        if self.phase is _APP:
            self.deadline = self._gate.now + self._gate.limits.probe_seconds
        return self.phase in (_WAITING, _APP) or self._wire.stuck or self._reading.scheduled

    def pause_writing(self) -> None:
        """An answer is unsent: no next request until it is."""
        self._wire.stuck = True

    def resume_writing(self) -> None:
        """The answer was sent: go on where the connection stood."""
        if not self._wire.go_on():
            pass
        elif self.phase is _READING:
            self.deadline = self._gate.now + self._gate.limits.idle_seconds
            self._reading.schedule()
        elif self.phase >= _LINGER:
            self.deadline = self._wire.deadline(self._gate.limits.linger_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back; tell the application when it was still at work."""
        del exc
        self.phase = _GONE
        self._wire.settle()
        self._reading.stop()
        self._gate.connections.discard(self)  # gone for others only when all was given back
        request, self._request = self._request, None
        if request is not None:
            self._gate.counts.abandoned += 1
            request.abandon()
        del self._reading  # which refers to this connection: neither shall wait for the collector

    # -- what the application calls, through HttpRequest

    def answer(self, status: int, head: bytes, body: Sequence[bytes | memoryview], close: bool) -> None:
        """Send the answer of the request in progress and go on to the next, or end the connection."""
        gate, wire, intake = self._gate, self._wire, self._reading.intake
        parsed = intake.head
        self._request = None
        if wire.transport.is_closing():
            return  # it broke a moment ago; connection_lost follows
        more = bool(intake.inbox)
        keep = parsed.keep_alive and not (close or intake.in_body)
        if keep and (gate.ducking or wire.ended):
            # Requests that were pipelined before the client could know are answered too.
            keep = more or (not wire.ended and wire.unread() > 0)
        framing = CLOSE if not keep else KEEP_LEGACY if parsed.legacy else KEEP
        wire.send(status, head, body, framing, parsed.method == "HEAD")
        intake.release()
        if not keep:
            self.end(linger=parsed.keep_alive or more or intake.in_body)
            return
        self.phase = _READING
        self.quiet_since = gate.now
        self.deadline = gate.now + gate.limits.idle_seconds
        if wire.stuck:
            self.deadline = wire.deadline(0.0)
        elif more:
            self._reading.schedule()
        elif wire.paused:
            wire.resume()

    def hold(self, size: int) -> bool:
        """Take bytes of the budget until the request in progress is answered; returns whether they were there."""
        return self._reading.intake.hold(size)

    def later(self, take: Callable[[HttpRequest], None], request: HttpRequest) -> None:
        """Have the request in progress taken again, if it still is one by then."""
        asyncio.get_running_loop().call_soon(self._take_again, take, request)

    # -- what the gate calls

    def expire(self) -> None:
        """The deadline is over."""
        gate, reading, wire = self._gate, self._reading, self._wire
        if reading.scheduled:
            pass  # the next step is ours, not the client's
        elif self.phase is _APP:
            # Only set for a client that has stopped sending; asked again at every tick.
            if not reading.intake.head.legacy and wire.probe():
                self.abort()
        elif self.phase is _WAITING:
            gate.counts.shed += 1
            self.refuse(Refused(503, "overloaded", "too many bytes are in flight here; retry later"))
        elif self.phase is _LINGER and wire.secure and not wire.stuck:
            self.end(linger=False)  # with TLS the end can only be told by closing
        elif self.phase is _GONE and wire.sending() and not wire.stuck:
            self.deadline = gate.now + gate.limits.linger_seconds  # the transport's own time-out bounds this
        elif wire.stuck or self.phase >= _LINGER:
            gate.counts.expired += wire.stuck
            self.abort()
        elif reading.due > gate.now:
            self.deadline = reading.due
        elif reading.intake.in_body or reading.intake.inbox:
            gate.counts.expired += 1
            self.refuse(Refused(408, "timeout", "the request did not arrive in time"))
        else:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Close unless a request is in progress or has just arrived."""
        intake, wire = self._reading.intake, self._wire
        idle = self.phase is _READING and not (intake.inbox or intake.in_body or wire.stuck)
        if idle and wire.unread() == 0:
            self.end(linger=False)

    def abort(self) -> None:
        """End the connection at once, answered or not."""
        self._wire.transport.abort()

    @property
    def busy(self) -> int:
        """Requests of this connection with the application: one or none."""
        return self.phase is _APP

    def duck(self) -> None:
        """Nothing can be said before an answer; the gate says that it is ducking."""

    # -- what the reading calls

    def ask(self, received: float) -> bool:
        """Show the application a request whose body is still to come; returns whether it wants the body."""
        request = HttpRequest(self, self._reading.intake.head, _NO_BODY, received)
        self._call(self._app.admit, request)
        wanted = request.open
        request.abandon()  # it comes again, with its body
        return wanted

    def hand_over(self, received: float) -> None:
        """Give the application a whole request."""
        gate, intake = self._gate, self._reading.intake
        request = HttpRequest(self, intake.head, intake.body, received)
        intake.body = _NO_BODY
        self._request = request
        self.phase = _APP
        self.deadline = math.inf if not self._wire.ended else gate.now + gate.limits.probe_seconds
        gate.counts.requests += 1
        self._call(self._app, request)

    def refuse(self, refusal: Refused) -> None:
        """Answer what is no acceptable request, or did not become one; the connection ends."""
        self._gate.counts.refused += 1
        head, body = error_answer(refusal.status, refusal.reason, refusal.message)
        self._reading.stop()
        self._wire.send(refusal.status, head, body, CLOSE, bodyless=False)
        self.end(linger=True)

    def end(self, *, linger: bool) -> None:
        """No more requests; with `linger`, input is thrown away until the client has read the answer."""
        self._reading.stop()
        self.phase = _LINGER if self._wire.end(linger=linger) else _GONE
        self.deadline = self._wire.deadline(self._gate.limits.linger_seconds)

    def _take_again(self, take: Callable[[HttpRequest], None], request: HttpRequest) -> None:
        if request is self._request:
            self._call(take, request)

    @staticmethod
    def _call(take: Callable[[HttpRequest], None], request: HttpRequest) -> None:
        """Let the application take a request; its defects are answered, not raised."""
        try:
            take(request)
        except Exception:
            _logger.exception("the application raised")
            head, body = error_answer(500, "internal", "a defect in the server")
            request.respond(500, head, body, close=True)
