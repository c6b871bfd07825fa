"""The way in of one connection: bytes to whole requests, one at a time (pure).

The door feeds what it read and calls `next` until it says what is missing: more bytes, leave to hold more
of them, or another turn. Bodies are charged to the gateway's budget before they are held.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from changeover.gateway.door.body import SizedBody
from changeover.gateway.door.budget import Budget
from changeover.gateway.door.chunked import ChunkedBody
from changeover.gateway.door.head import CACHED_HEAD_BYTES, CHUNKED, Head, HeadCache
from changeover.gateway.door.limits import KIB, SMALL_BODY, Limits
from changeover.gateway.door.refusal import Refused, malformed

_NO_BODY: Final = memoryview(b"")
_CHUNKED_STEP: Final = 64 * KIB
_HOPELESS: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\x00")


class Step(enum.Enum):
    """What `Intake.next` found.

    `REQUEST`: `head` and `body` are a whole request. `HEAD`: only `head` is there, and nothing was taken for its body:
    call again to take it in. `WANT`: the budget is `wanted` bytes short; say `granted` when it has them. `MORE`: bytes
    are missing. `TURN`: there is more to do, but others are to go first.
    """

    REQUEST = enum.auto()
    HEAD = enum.auto()
    WANT = enum.auto()
    MORE = enum.auto()
    TURN = enum.auto()


class Intake:
    """Unparsed input of one connection and the request being collected from it.

    Attributes:
        inbox: input not yet taken, from `at` on; empty when all was taken.
        head: of the request in progress or just found.
        body: of the request just found.
        in_body: a head was taken whose body is not complete.
        expecting: the client waits for `100 Continue`; the door clears it.
        wanted: bytes of the budget that are needed to go on, 0 when none are.
    """

    __slots__ = (
        "_budget", "_charged", "_collector", "_heads", "_known", "_last", "_limits", "at", "body", "expecting", "head",
        "in_body", "inbox", "wanted",
    )  # fmt: skip

    head: Head
    body: memoryview

    def __init__(self, heads: HeadCache, limits: Limits, budget: Budget) -> None:
        self._heads = heads
        self._known = heads.known
        self._last: tuple[bytes, Head] | None = None
        self._limits = limits
        self._budget = budget
        self._charged = 0
        self._collector: SizedBody | ChunkedBody | None = None
        self.inbox = b""
        self.at = 0
        self.in_body = False
        self.expecting = False
        self.wanted = 0

    def feed(self, data: bytes) -> int:
        """Add input; returns the bytes not yet taken."""
        if self.inbox:
            data = self.inbox[self.at :] + data
        self.inbox = data
        self.at = 0
        return len(data)

    def next(self) -> Step:
        """Go on as far as the input and the budget reach.

        Raises:
            Refused: the input is no acceptable request; nothing after it can be trusted.
        """
        if self.in_body:
            return self._take_body()
        inbox, at = self.inbox, self.at
        end = inbox.find(b"\r\n\r\n", at)
        if end < 0:
            self._check_part(inbox, at)
            return Step.MORE
        raw = inbox[at:end]
        head = self._known.get(raw)
        if head is None:
            head = self._new_head(raw)
        self.head = head
        self.at = end + 4
        if head.length == 0:
            self.body = _NO_BODY
            return self._found()
        self.in_body = True
        if head.length == CHUNKED:
            self.wanted = _CHUNKED_STEP
            return Step.HEAD
        self.wanted = head.length
        if head.length > SMALL_BODY or head.length > len(inbox) - self.at:
            return Step.HEAD
        return self._take_body()

    def clear(self) -> None:
        """Forget everything: the connection takes no more requests."""
        self.inbox = b""
        self.at = 0
        self.in_body = self.expecting = False
        self.wanted = 0
        self._last = self._collector = None
        self.body = _NO_BODY

    def granted(self) -> None:
        """The budget has given the bytes that were wanted."""
        self._charged += self.wanted
        self.wanted = 0

    def hold(self, size: int) -> bool:
        """Charge more bytes for the request that was found, if they are there; they are given back with its body."""
        taken = self._budget.take(size)
        self._charged += size * taken
        return taken

    def release(self) -> None:
        """Give the budget back what it gave: the body is no longer held."""
        if self._charged:
            charged, self._charged = self._charged, 0
            self._budget.give(charged)

    @property
    def received(self) -> int:
        """Bytes of the unfinished body so far."""
        return 0 if self._collector is None else self._collector.received

    def _found(self) -> Step:
        self.in_body = False
        if self.at == len(self.inbox):
            self.inbox = b""
            self.at = 0
        return Step.REQUEST

    def _afford(self) -> bool:
        """Take what is wanted of the budget, if it is there."""
        if not self._budget.take(self.wanted):
            return False
        self.granted()
        return True

    def _take_body(self) -> Step:
        if self.wanted and not self._afford():
            return Step.WANT
        length, at = self.head.length, self.at
        collector = self._collector
        if collector is None:
            if 0 < length <= len(self.inbox) - at:
                self.body = memoryview(self.inbox)[at : at + length]
                self.at = at + length
                return self._found()
            collector = self._start_body()
        self.at = collector.feed(self.inbox, at)
        if collector.received > self._charged:
            self.wanted = (collector.received - self._charged) // _CHUNKED_STEP * _CHUNKED_STEP + _CHUNKED_STEP
            if not self._afford():
                return Step.WANT
        if collector.done:
            self._collector = None
            self.body = collector.view()
            return self._found()
        if collector.turn_over:
            return Step.TURN
        if self.at == len(self.inbox):
            self.inbox = b""
            self.at = 0
        return Step.MORE

    def _start_body(self) -> SizedBody | ChunkedBody:
        head = self.head
        self.expecting = head.expects and self.at == len(self.inbox)
        if head.length == CHUNKED:
            self._collector = ChunkedBody(self._limits.body_bytes)
        else:
            self._collector = SizedBody(head.length)
        return self._collector

    def _new_head(self, raw: bytes) -> Head:
        """A head that is not known to all: a client with a token repeats its own, which stays with the connection."""
        if self._last is not None and self._last[0] == raw:
            return self._last[1]
        # One empty line before a request line is forgiven (RFC 9112 section 2.2).
        head = self._heads.parse(raw[2:] if raw.startswith(b"\r\n") else raw)
        if b"authorization" in head.headers and len(raw) <= CACHED_HEAD_BYTES:
            self._last = raw, head
        return head

    def _check_part(self, inbox: bytes, at: int) -> None:
        """Refuse an incomplete head that no further byte can save."""
        if len(inbox) - at > self._limits.header_bytes:
            raise Refused(431, "header_too_large", f"the head is over {self._limits.header_bytes} bytes")
        if _HOPELESS.search(inbox, at):
            raise malformed("a line does not end with CRLF, or has a NUL in it")
