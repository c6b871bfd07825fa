"""One HTTP/1.1 connection: bytes in, whole requests to the application, bytes out.

A connection has one request in progress. What a client pipelines behind it waits in the inbox; when that
is full, or an answer is unsent, reading is paused. There is no task, future or timer per request: the
gate's tick looks at one deadline per connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import Final, cast

from changeover.gateway.door.answer import CLOSE, KEEP, KEEP_LEGACY, error_answer
from changeover.gateway.door.gate import Gate
from changeover.gateway.door.intake import Intake, Step
from changeover.gateway.door.limits import INBOX_BYTES
from changeover.gateway.door.phase import Phase
from changeover.gateway.door.refusal import Refused
from changeover.gateway.door.request import App, HttpRequest
from changeover.gateway.door.wire import Wire

__all__ = ["App", "Http1Door", "HttpRequest"]

_logger = logging.getLogger(__name__)
_TURN_REQUESTS: Final = 64
_NO_BODY: Final = memoryview(b"")


# Looked up a few times per request: a global is cheaper than an attribute of an enum.
_READING, _WAITING, _APP, _LINGER, _GONE = Phase
_REQUEST, _WANT, _MORE, _TURN = Step


class Http1Door(asyncio.Protocol):
    """The protocol of one connection.

    Attributes:
        certified: the client has shown a certificate that was verified.
        deadline: `time.monotonic()` at which `expire` is due.
        quiet_since: when the connection was opened or last answered.
    """

    __slots__ = (
        "_app", "_began", "_body_began", "_gate", "_head_began", "_intake", "_phase", "_request", "_scheduled",
        "_wire", "certified", "deadline", "quiet_since",
    )  # fmt: skip

    _wire: Wire

    def __init__(self, gate: Gate, app: App) -> None:
        self._gate = gate
        self._app = app
        self._phase = _READING
        self._intake = Intake(gate.heads, gate.limits)
        self._request: HttpRequest | None = None
        self._scheduled = False
        self._began = self._head_began = self._body_began = 0.0  # 0: not begun
        self.quiet_since = gate.now
        self.deadline = gate.now + gate.limits.header_seconds

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the gate's connections."""
        self._wire = Wire(self._gate, cast(asyncio.Transport, transport))
        self.certified = self._wire.certified
        self._gate.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse, or keep for later while a request is in progress."""
        phase = self._phase
        if phase >= _LINGER:
            return
        held = self._intake.feed(data)
        if phase is _READING and not self._wire.stuck:
            if not self._began:
                self._began = time.monotonic()
            self._pump()
        elif held > INBOX_BYTES:
            self._wire.pause()

    def eof_received(self) -> bool:
        """The client stopped sending: stay open (true) while it waits for answers; with TLS it is gone."""
        self._wire.ended = True
        if self._wire.secure:
            return False
        if self._phase is _APP:
            self.deadline = self._gate.now + self._gate.limits.probe_seconds
        return self._phase in (_WAITING, _APP) or self._wire.stuck or self._scheduled

    def pause_writing(self) -> None:
        """An answer is unsent: no next request until it is."""
        self._wire.stuck = True

    def resume_writing(self) -> None:
        """The answer was sent: go on where the connection stood."""
        if not self._wire.go_on():
            pass
        elif self._phase is _READING:
            self.deadline = self._gate.now + self._gate.limits.idle_seconds
            self._schedule()
        elif self._phase >= _LINGER:
            self.deadline = self._wire.deadline(self._gate.limits.linger_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back; tell the application when it was still at work."""
        del exc
        self._phase = _GONE
        self._gate.connections.discard(self)
        self._gate.budget.forget(self)
        self._wire.settle()
        self._intake.release(self._gate.budget)
        self._intake.clear()
        request, self._request = self._request, None
        if request is not None:
            self._gate.counts.abandoned += 1
            request.abandon()

    # -- what the application calls, through HttpRequest

    def answer(self, status: int, head: bytes, body: Sequence[bytes | memoryview], close: bool) -> None:
        """Send the answer of the request in progress and go on to the next, or end the connection."""
        gate, wire, parsed = self._gate, self._wire, self._intake.head
        self._request = None
        if wire.transport.is_closing():
            return  # it broke a moment ago; connection_lost follows
        more = bool(self._intake.inbox)
        keep = parsed.keep_alive and not close
        if keep and (gate.ducking or wire.ended):
            # Requests that were pipelined before the client could know are answered too.
            keep = more or (not wire.ended and wire.unread() > 0)
        framing = CLOSE if not keep else KEEP_LEGACY if parsed.legacy else KEEP
        wire.send(status, head, body, framing, parsed.method == "HEAD")
        self._intake.release(self._gate.budget)
        if not keep:
            self._end(linger=parsed.keep_alive or more)
            return
        self._phase = _READING
        self.quiet_since = gate.now
        self.deadline = gate.now + gate.limits.idle_seconds
        if wire.stuck:
            self.deadline = wire.deadline(0.0)
        elif more:
            self._schedule()
        elif wire.paused:
            wire.resume()

    # -- what the gate and the budget call

    def granted(self) -> None:
        """The budget has the bytes this connection waited for."""
        self._intake.allowance += self._intake.wanted
        self._phase = _READING
        self._body_began = 0.0
        self._schedule()

    def expire(self) -> None:
        """The deadline is over."""
        gate, intake = self._gate, self._intake
        if self._scheduled:
            pass  # the next step is ours, not the client's
        elif self._phase is _APP:
            # Only set for a client that has stopped sending; asked again at every tick.
            if not intake.head.legacy and self._wire.probe():
                self.abort()
        elif self._phase is _WAITING:
            gate.budget.forget(self)
            gate.counts.shed += 1
            self._refuse(503, "overloaded", "too many bytes are in flight here; retry later")
        elif self._phase is _LINGER and self._wire.secure and not self._wire.stuck:
            self._end(linger=False)  # with TLS the end can only be told by closing
        elif self._phase is _GONE and self._wire.sending() and not self._wire.stuck:
            self.deadline = gate.now + gate.limits.linger_seconds  # the transport's own time-out bounds this
        elif self._wire.stuck or self._phase >= _LINGER:
            gate.counts.expired += self._wire.stuck
            self.abort()
        elif intake.in_body and (due := self._body_began + gate.limits.body_time(intake.received)) > gate.now:
            self.deadline = due
        elif intake.in_body or intake.inbox:
            gate.counts.expired += 1
            self._refuse(408, "timeout", "the request did not arrive in time")
        else:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Close unless a request is in progress or has just arrived."""
        intake, wire = self._intake, self._wire
        idle = self._phase is _READING and not (intake.inbox or intake.in_body or wire.stuck)
        if idle and wire.unread() == 0:
            self._end(linger=False)

    def abort(self) -> None:
        """End the connection at once, answered or not."""
        self._wire.transport.abort()

    @property
    def busy(self) -> int:
        """Requests of this connection with the application: one or none."""
        return self._phase is _APP

    def duck(self) -> None:
        """Nothing can be said before an answer; the gate says that it is ducking."""

    # -- inside

    def _pump(self) -> None:
        """Take requests from the input until something is missing."""
        intake = self._intake
        try:
            for _ in range(_TURN_REQUESTS):
                step = intake.next()
                if step is _REQUEST:
                    self._hand_over()
                    if self._phase is not _READING or self._wire.stuck or not intake.inbox:
                        return
                elif step is _WANT:
                    if not self._take(intake.wanted):
                        return
                elif step is _MORE:
                    self._await_more()
                    return
                else:
                    break
        except Refused as refusal:
            self._refuse(refusal.status, refusal.reason, refusal.message)
            return
        self._schedule()

    def _hand_over(self) -> None:
        intake, gate = self._intake, self._gate
        request = HttpRequest(self, intake.head, intake.body, self._began or time.monotonic())
        intake.body = _NO_BODY
        self._request = request
        self._began = self._head_began = self._body_began = 0.0
        self._phase = _APP
        self.deadline = math.inf if not self._wire.ended else gate.now + gate.limits.probe_seconds
        gate.counts.requests += 1
        try:
            self._app(request)
        except Exception:
            _logger.exception("the application raised")
            head, body = error_answer(500, "internal", "a defect in the server")
            request.respond(500, head, body, close=True)

    def _take(self, amount: int) -> bool:
        """Take bytes of the budget, or queue for them."""
        gate = self._gate
        if gate.budget.take(amount):
            self._intake.allowance += amount
            return True
        self._phase = _WAITING
        self.deadline = gate.now + gate.limits.wait_seconds
        self._wire.pause()
        gate.budget.wait(self, amount, self._intake.head.path)
        return False

    def _await_more(self) -> None:
        """Go on reading, with the time-out of the part that is missing."""
        intake, gate, wire = self._intake, self._gate, self._wire
        if wire.ended:
            self._end(linger=False)  # what is missing will not come
            return
        if intake.in_body:
            if intake.expecting:
                intake.expecting = False
                wire.send_continue()
            if not self._body_began:
                self._body_began = gate.now
                self.deadline = gate.now + gate.limits.body_seconds
        elif intake.inbox and not self._head_began:
            self._head_began = gate.now
            self.deadline = gate.now + gate.limits.header_seconds
        if wire.paused:
            wire.resume()

    def _schedule(self) -> None:
        """Go on with the input after the other connections had their turn."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)
        if len(self._intake.inbox) > INBOX_BYTES:
            self._wire.pause()

    def _go_on(self) -> None:
        self._scheduled = False
        if self._phase is _READING and not self._wire.stuck:
            self._pump()

    def _refuse(self, status: int, reason: str, message: str) -> None:
        self._gate.counts.refused += 1
        head, body = error_answer(status, reason, message)
        self._intake.release(self._gate.budget)
        self._wire.send(status, head, body, CLOSE, bodyless=False)
        self._end(linger=True)

    def _end(self, *, linger: bool) -> None:
        """No more requests; with `linger`, input is thrown away until the client has read the answer."""
        self._intake.clear()
        self._phase = _LINGER if self._wire.end(linger=linger) else _GONE
        self.deadline = self._wire.deadline(self._gate.limits.linger_seconds)
