"""Reading one HTTP/1.1 connection: input to whole requests, in turns, each part in its time."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.intake import Intake, Step
from changeover.gateway.door.limits import INBOX_BYTES
from changeover.gateway.door.phase import Phase
from changeover.gateway.door.refusal import Refused
from changeover.gateway.door.wire import Wire

_TURN_REQUESTS: Final = 64

# Looked up a few times per request: a global is cheaper than an attribute of an enum.
_READING, _WAITING = Phase.READING, Phase.WAITING
_REQUEST, _HEAD, _WANT, _MORE, _TURN = Step


class Reader(Protocol):
    """Who reads: the connection.

    Attributes:
        phase: input is parsed in `READING` only.
        deadline: `time.monotonic()` at which what is missing must be there.
    """

    phase: Phase
    deadline: float

    def ask(self, received: float) -> bool:
        """Whether the body of the request that has begun is wanted; when not, it was answered."""

    def hand_over(self, received: float) -> None:
        """A whole request, whose first byte was read at `received`."""

    def refuse(self, refusal: Refused) -> None:
        """The input is no acceptable request."""

    def end(self, *, linger: bool) -> None:
        """There will be no further request."""


class Reading:
    """The input of one connection. What cannot be parsed now is kept; when that is much, reading is paused.

    Attributes:
        intake: the input and the request being collected from it.
        scheduled: the next step is ours, and comes after the other connections had their turn.
    """

    __slots__ = ("_began", "_body_began", "_gate", "_head_began", "_reader", "_wire", "intake", "scheduled")

    def __init__(self, gate: Gate, wire: Wire, reader: Reader) -> None:
        self._gate = gate
        self._wire = wire
        self._reader = reader
        self._began = self._head_began = self._body_began = 0.0  # 0: not begun
        self.intake = Intake(gate.heads, gate.limits, gate.budget)
        self.scheduled = False

    def feed(self, data: bytes) -> None:
        """Parse, or keep for later while a request is in progress."""
        held = self.intake.feed(data)
        if self._reader.phase is _READING and not self._wire.stuck:
            if not self._began:
                self._began = time.monotonic()
            self._pump()
        elif held > INBOX_BYTES:
            self._wire.pause()

    def schedule(self) -> None:
        """Go on with the input after the other connections had their turn."""
        if not self.scheduled:
            self.scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)
        if len(self.intake.inbox) > INBOX_BYTES:
            self._wire.pause()

    def granted(self) -> None:
        """The budget has the bytes this connection waited for."""
        self.intake.granted()
        self._reader.phase = _READING
        self._body_began = 0.0
        self.schedule()

    def stop(self) -> None:
        """Give everything back: no more requests are taken from this connection."""
        self._gate.budget.forget(self)
        self.intake.release()
        self.intake.clear()

    @property
    def due(self) -> float:
        """When the body being read must be whole, by what has come of it; 0 outside a body."""
        return self._body_began + self._gate.limits.body_time(self.intake.received) if self.intake.in_body else 0.0

    def _go_on(self) -> None:
        self.scheduled = False
        if self._reader.phase is _READING and not self._wire.stuck:
            self._pump()

    def _pump(self) -> None:
        """Take requests from the input until something is missing."""
        intake, reader = self.intake, self._reader
        try:
            for _ in range(_TURN_REQUESTS):
                step = intake.next()
                if step is _REQUEST:
                    received = self._began or time.monotonic()
                    self._began = self._head_began = self._body_began = 0.0
                    reader.hand_over(received)
                    if reader.phase is not _READING or self._wire.stuck or not intake.inbox:
                        return
                elif step is _HEAD:
                    if not reader.ask(self._began or time.monotonic()):
                        return
                elif step is _TURN:
                    break
                else:
                    self._await(step)
                    return
        except Refused as refusal:
            reader.refuse(refusal)
            return
        self.schedule()

    def _await(self, step: Step) -> None:
        """Wait for the budget, or for input with the time-out of the part that is missing."""
        intake, gate, wire, reader = self.intake, self._gate, self._wire, self._reader
        if step is _WANT:
            reader.phase = _WAITING
            reader.deadline = gate.now + gate.limits.wait_seconds
            wire.pause()
            gate.budget.wait(self, intake.wanted, intake.head.path)
        elif wire.ended:
            reader.end(linger=False)  # what is missing will not come
        else:
            if intake.in_body:
                self._await_body()
            elif intake.inbox and not self._head_began:
                self._head_began = gate.now
                reader.deadline = gate.now + gate.limits.header_seconds
            if wire.paused:
                wire.resume()

    def _await_body(self) -> None:
        intake, gate = self.intake, self._gate
        if intake.expecting:
            intake.expecting = False
            self._wire.send_continue()
        if not self._body_began:
            self._body_began = gate.now
            self._reader.deadline = gate.now + gate.limits.body_seconds
