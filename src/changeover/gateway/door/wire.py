"""The transport of one connection, with an account of what the client has not read."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from changeover.gateway.door.answer import CONTINUE, has_no_body
from changeover.gateway.door.kernel import Kernel
from changeover.gateway.door.limits import KIB

if TYPE_CHECKING:
    import asyncio

    from changeover.gateway.door.gate import Gate

_JOINED_BYTES: Final = 64 * KIB
_MOST_PARTS: Final = 256
_TCP_CLOSE: Final = 7


class Wire:
    """Sends answers in as few system calls and copies as the transport allows; pauses the reading.

    A transport with TLS takes all it is given into memory before it says that this is too much, so it gets large
    answers in pieces; it cannot be closed in one direction only, so a client that stops sending is gone.

    Attributes:
        secure: with TLS.
        certified: with TLS, and the client has shown a certificate that was verified.
        stuck: more is unsent than the transport wants to hold.
        ended: the client has stopped sending.
        paused: reading is paused.
    """

    __slots__ = (
        "_backlog", "_closing", "_gate", "_kernel", "_probed", "_socket", "_unsent", "certified", "ended", "paused",
        "secure", "stuck", "transport",
    )  # fmt: skip

    def __init__(self, gate: Gate, transport: asyncio.Transport) -> None:
        # The low mark is zero: an answer's memory is free only when all of it was sent.
        transport.set_write_buffer_limits(high=_JOINED_BYTES, low=0)
        self._gate = gate
        self._socket = cast("socket.socket", transport.get_extra_info("socket"))
        self._unsent = 0
        self._kernel = Kernel(transport)
        self._probed = self._closing = False
        self._backlog: deque[memoryview] = deque()
        self.transport = transport
        self.secure = transport.get_extra_info("ssl_object") is not None
        self.certified = self.secure and bool(transport.get_extra_info("peercert"))
        self.stuck = self.ended = self.paused = False

    # -- in

    def pause(self) -> None:
        """Read no more for now."""
        self.paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        """Read on; after the client's end there is nothing to read."""
        self.paused = False
        if not self.ended:
            self.transport.resume_reading()

    def unread(self) -> int:
        """Bytes from the client that wait in the kernel."""
        return self._kernel.unread()

    def sending(self) -> bool:
        """Whether bytes may be on their way that a transport with TLS does not count any more."""
        return self.secure and self._kernel.sending()

    def probe(self) -> bool:
        """Whether a client that stopped sending is gone; the first call only prepares the answer.

        A closed socket and a half-closed one look the same from here until something is sent. An interim
        answer is harmless to a client that waits, and brings a reset from one that is gone.
        """
        if not self._probed:
            self._probed = True
            self.transport.write(CONTINUE)
            return False
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except (OSError, ValueError):
            return False  # no TCP: a broken pipe shows when the answer is written
        return info[0] == _TCP_CLOSE

    # -- out

    def send(
        self, status: int, head: bytes, body: Sequence[bytes | memoryview], framing: bytes, bodyless: bool
    ) -> None:
        """Write one answer; `bodyless` for HEAD: the length is told, the body stays here."""
        stamp = self._gate.stamp
        line = stamp.lines.get(status) or stamp.line(status)
        if has_no_body(status):
            self.transport.write(b"%b%b%b\r\n" % (line, head, framing))
            return
        size = 0
        for chunk in body:
            size += chunk.nbytes if type(chunk) is memoryview else len(chunk)
        top = b"%b%bcontent-length: %d\r\n%b\r\n" % (line, head, size, framing)
        if bodyless:
            self.transport.write(top)
        elif size <= _JOINED_BYTES:
            self.transport.write(b"".join((top, *body)))
        else:
            self._send_large([top, *body])

    def send_continue(self) -> None:
        """Tell the client to send its body."""
        self.transport.write(CONTINUE)

    def go_on(self) -> bool:
        """The transport has sent what it had: give it more; returns whether nothing is left."""
        self.stuck = False
        while self._backlog and not self.stuck:
            view = self._backlog.popleft()
            self.transport.write(bytes(view[:_JOINED_BYTES]))  # may become stuck
            if len(view) > _JOINED_BYTES:
                self._backlog.appendleft(view[_JOINED_BYTES:])
        if self._backlog:
            return False
        self.settle()
        if self._closing:
            self.transport.close()
        return True

    def settle(self) -> None:
        """Give the unsent bytes back to the budget: they were sent, or the connection is gone."""
        self.stuck = False
        self._backlog.clear()
        if self._unsent:
            unsent, self._unsent = self._unsent, 0
            self._gate.budget.give(unsent)

    def end(self, *, linger: bool) -> bool:
        """Nothing more will be sent: close, or with `linger` only say so; returns whether input still comes."""
        if not linger or self.ended or self.transport.is_closing():
            self._closing = True
            if not self._backlog:
                self.transport.close()
            return False
        if not self.secure:
            self.transport.write_eof()
        self.resume()
        return True

    def deadline(self, otherwise: float) -> float:
        """When what is unsent must have been sent; `otherwise` seconds from now when nothing is."""
        unsent = self._pending()
        return self._gate.now + (self._gate.limits.write_time(unsent) if unsent else otherwise)

    def _pending(self) -> int:
        return self.transport.get_write_buffer_size() + sum(map(len, self._backlog))

    def _send_large(self, parts: list[bytes | memoryview]) -> None:
        if len(parts) > _MOST_PARTS:
            parts = [b"".join(parts)]
        sent = 0 if self.secure else self._send_now(parts)
        for part in parts:
            view = memoryview(part).cast("B")
            if sent < len(view) and not self.transport.is_closing():
                # What the kernel did not take outlives this call: bytes are kept, other memory is copied.
                rest = view[sent:]
                kept = rest if type(part) is bytes else memoryview(bytes(rest))
                if self.secure:
                    self._backlog.append(kept)
                else:
                    self.transport.write(kept)
            sent = max(0, sent - len(view))
        if self._backlog and not self.stuck:
            self.go_on()
        if self.stuck and not self._unsent:
            self._unsent = self._pending()
            self._gate.budget.charge(self._unsent)

    def _send_now(self, parts: list[bytes | memoryview]) -> int:
        """Hand over what the kernel takes at once: this much needs no copy."""
        if self.transport.get_write_buffer_size() or self.transport.is_closing():
            return 0
        try:
            return os.writev(self._socket.fileno(), parts)
        except OSError:
            return 0  # a full buffer, or an error the transport meets and reports next
