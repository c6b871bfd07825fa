"""What the door hands to the application: a whole unary call, and the way to answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from changeover.gateway.door.http2.fields import HEAD, TAIL_OK, Head, Status, tail
from changeover.gateway.door.wanted import Door, Wanted

if TYPE_CHECKING:
    from changeover.gateway.door.http2.stream import Stream


class Answers(Door, Protocol):
    """Who takes the answer: the connection, or the place in a talk's line."""

    def answer(self, stream: Stream, head: bytes, body: Sequence[bytes | memoryview] | None, end: bytes) -> None:
        """Send the answer: its head, message and end, or a head that is all of it."""


class Call(Wanted[Answers]):
    """A call whose fields and message are complete; the sibling of `HttpRequest`.

    Attributes:
        path: `/package.Service/Method`.
        headers: names and values as sent, repeated values joined by `, `; shared between calls, so read-only.
        body: the message without its prefix; it owns its memory, which nobody writes to any more.
        received: `time.monotonic()` when the call's first bytes were read.
        timeout: seconds the caller gives from then on, None without a limit. The door does not watch it.
    """

    __slots__ = ("_stream", "body", "headers", "path", "received", "timeout")

    def __init__(self, door: Answers, stream: Stream, body: memoryview) -> None:
        head = stream.head
        self.path = head.path
        self.headers: Mapping[bytes, bytes] = head.headers
        self.timeout = head.timeout
        self.body = body
        self.received = stream.began
        self.abandoned = None
        self._door = door
        self._stream = stream

    def respond(self, body: Sequence[bytes | memoryview], fields: bytes = b"") -> None:
        """Answer with a message, once; after that, and after abandonment, a call does nothing.

        Args:
            body: contiguous chunks of the message; sent or copied before this returns.
            fields: a block made by `hpack.encode`, sent before the message.
        """
        self._answer(HEAD + fields if fields else HEAD, body, TAIL_OK)

    def fail(self, status: Status, message: str, fields: bytes = b"") -> None:
        """Answer with an error, once; the fields are sent with it."""
        self._answer(HEAD + tail(status, message) + fields, None, b"")

    def _answer(self, head: bytes, body: Sequence[bytes | memoryview] | None, end: bytes) -> None:
        door = self._door
        if door is not None:
            self._door = None
            try:
                door.answer(self._stream, head, body, end)
            except BaseException:  # such as no memory: the caller must not wait for the rest
                door.abort()
                raise

    def __repr__(self) -> str:
        return f"<Call {self.path} {len(self.body)} bytes>"


class CallApp(Protocol):
    """Takes calls, on the event loop's thread."""

    def admit(self, head: Head, certified: bool) -> None:
        """Look at a call whose message is still to come; one that passes comes again as a whole.

        Args:
            head: its fields.
            certified: the client has shown a certificate that was verified.

        Raises:
            Refused: its message is not to be taken in.
        """

    def __call__(self, call: Call) -> None:
        """Answer a whole call, at once or later; does not raise."""
