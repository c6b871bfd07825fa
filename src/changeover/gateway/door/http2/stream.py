"""One call on its way through a connection: what has come of it, and what is left to send."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from changeover.gateway.door.http2.frames import DEFAULT_WINDOW

if TYPE_CHECKING:
    from changeover.gateway.door.http2.call import Call
    from changeover.gateway.door.http2.fields import Head
    from changeover.gateway.door.http2.message import Message
    from changeover.gateway.door.http2.talk import Talk
    from changeover.protocol.content_coding import Unpacking


class Stream(msgspec.Struct, eq=False):
    """Plain state, changed by `Inbound` until the call is complete and by `Outbound` after its answer.

    Attributes:
        id: of the stream.
        head: the call's fields.
        began: `time.monotonic()` when they were read.
        due: when what the client owes must be there; infinite while the application works.
        room: bytes of data the client may still send.
        message: collects the message when it did not come in one frame.
        ended: the client has sent all.
        held: bytes of data for which the connection's window was not opened again yet.
        charged: bytes of the gateway's budget taken for the message.
        on_grant: set while the message waits for the budget.
        call: with the application.
        unpacking: its packed message, while that is not all unpacked.
        talk: of a call whose client sends many messages; None for all others.
        window: bytes the client lets the door send, more or less than its initial window.
        start: the first fields of the answer, until they were sent.
        out: data of the answer that is left to send, in pieces that are freed one by one.
        offset: bytes of the first piece that were sent.
        end: the last fields of the answer; empty when the first were the last, or while it goes on.
        queued: in the line of streams that can send.
    """

    id: int
    head: Head
    began: float
    due: float
    room: int = DEFAULT_WINDOW
    message: Message | None = None
    ended: bool = False
    held: int = 0
    charged: int = 0
    on_grant: Callable[[Stream], None] | None = None
    call: Call | None = None
    unpacking: Unpacking | None = None
    talk: Talk | None = None
    window: int = 0
    start: bytes = b""
    out: deque[bytearray] | None = None
    offset: int = 0
    end: bytes = b""
    queued: bool = False

    def granted(self) -> None:
        """The budget has the bytes the message waited for."""
        told, self.on_grant = self.on_grant, None
        if told is not None:
            self.charged = 0 if self.message is None else self.message.size
            told(self)

    def wait_for_nothing(self) -> None:
        """The client owes nothing."""
        self.due = math.inf
