"""What the door hands to the application: a whole request, and the way to answer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from changeover.gateway.door.wanted import Wanted

if TYPE_CHECKING:
    from changeover.gateway.door.head import Head
    from changeover.gateway.door.http1 import Http1Door


class HttpRequest(Wanted["Http1Door"]):
    """A request whose head and body are complete.

    Attributes:
        method: upper case, as sent.
        path: percent-decoded, without the query.
        query: as sent, without the question mark.
        headers: lower-case names, repeated values joined by `, `; shared between requests, so read-only.
        body: the whole body, empty without one; it owns its memory, which nobody writes to any more.
        received: `time.monotonic()` when the first byte of this request was read.
    """

    __slots__ = ("body", "headers", "method", "path", "query", "received")

    def __init__(self, door: Http1Door, head: Head, body: memoryview, received: float) -> None:
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.body = body
        self.received = received
        self.abandoned = None
        self._door = door

    def respond(self, status: int, head: bytes, body: Sequence[bytes | memoryview], *, close: bool = False) -> None:
        """Answer, once; after that, and after abandonment, a call does nothing.

        Args:
            status: HTTP status, 200 and up.
            head: complete field lines, each with its CRLF, without content-length, date and connection.
            body: contiguous chunks; sent or copied before this returns, so their memory may be reused.
            close: end the connection after this answer.
        """
        door = self._door
        if door is not None:
            self._door = None
            try:
                door.answer(status, head, body, close)
            except BaseException:  # such as no memory: the client must not wait for the rest
                door.abort()
                raise

    def hold(self, size: int) -> bool:
        """Take bytes of the gateway's budget for what is made of the body; returns whether they were there.

        The door gives them back with the answer, or when the client goes away.
        """
        return self._door is not None and self._door.hold(size)

    def later(self, take: Callable[[HttpRequest], None]) -> None:
        """Have it taken again after everybody else had a turn; not if an answer is not wanted then."""
        if self._door is not None:
            self._door.later(take, self)

    def __repr__(self) -> str:
        return f"<HttpRequest {self.method} {self.path} {len(self.body)} bytes>"


class App(Protocol):
    """Takes requests, on the event loop's thread; does not raise."""

    def admit(self, request: HttpRequest) -> None:
        """Look at a request whose body is still to come, and answer now if the body is not to be taken in.

        What is not answered comes again as a whole. A small body that came along with its head is not asked about.
        """

    def __call__(self, request: HttpRequest) -> None:
        """Answer a whole request, at once or later."""
