"""The way out of one connection: answers to frames, within the client's windows and what the transport holds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2.calm import Calm
from changeover.gateway.door.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_FRAME,
    MAX_WINDOW,
    Broken,
    Code,
    Setting,
    answer,
    header,
    reset,
)
from changeover.gateway.door.http2.hpack import NO_TABLE, TABLE_BYTES
from changeover.gateway.door.http2.message import PREFIX, prefix
from changeover.gateway.door.http2.stream import Stream
from changeover.gateway.door.limits import KIB

HIGH_BYTES: Final = 256 * KIB
_TURN_BYTES: Final = 64 * KIB
_LAST: Final = END_HEADERS | END_STREAM
_MOST_FRAME: Final = 2**24 - 1


class Outbound:
    """Sends answers. Small ones go out at once, of larger ones each stream sends a part in turn.

    A write to a socket costs as much as a fifth of the rest of a call, and uvloop makes one of each. So what is written
    in one turn of the loop is gathered and goes out in one.

    Args:
        soon: has something called once, in the loop's next turn.

    Attributes:
        closed: nothing more is sent.
        stuck: more is unsent than the transport wants to hold.
        unsent: bytes of answers that are held here; they are charged to the gateway's budget.
    """

    __slots__ = (
        "_calm", "_frame", "_gate", "_gathered", "_gathered_bytes", "_given", "_initial", "_line", "_soon", "_table",
        "_transport", "_window", "closed", "stuck", "unsent",
    )  # fmt: skip

    def __init__(
        self, gate: Gate, transport: asyncio.Transport, calm: Calm, soon: Callable[[Callable[[], None]], object]
    ) -> None:
        transport.set_write_buffer_limits(high=HIGH_BYTES, low=0)
        self._soon = soon
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._gate = gate
        self._transport = transport
        self._calm = calm
        self._window = DEFAULT_WINDOW
        self._initial = DEFAULT_WINDOW
        self._frame = MAX_FRAME
        self._line: deque[Stream] = deque()
        self._given = 0
        self._table = b""
        self.closed = False
        self.stuck = False
        self.unsent = 0

    def write(self, data: bytes) -> None:
        """Send frames that no window holds back, with all others of this turn."""
        if self.closed:
            return
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes > _TURN_BYTES:
            self.flush()
        elif len(self._gathered) == 1:
            self._soon(self.flush)

    def flush(self) -> None:
        """Give the transport what was gathered."""
        if self._gathered:
            gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
            if not self._transport.is_closing():
                self._transport.write(b"".join(gathered))

    def close(self) -> None:
        """Send what was gathered, and nothing more."""
        self.flush()
        self.closed = True

    def settle(self, settings: dict[int, int], streams: dict[int, Stream]) -> None:
        """Take over the client's settings.

        Raises:
            Broken: values that the protocol forbids.
        """
        initial = settings.get(Setting.INITIAL_WINDOW_SIZE, self._initial)
        if initial > MAX_WINDOW:
            raise Broken(Code.FLOW_CONTROL_ERROR, "an initial window over 2^31-1")
        most = settings.get(Setting.MAX_FRAME_SIZE, self._frame)
        if not MAX_FRAME <= most <= _MOST_FRAME or settings.get(Setting.ENABLE_PUSH, 0) > 1:
            raise Broken(Code.PROTOCOL_ERROR, "a setting out of its range")
        self._frame = min(most, _TURN_BYTES)
        if settings.get(Setting.HEADER_TABLE_SIZE, TABLE_BYTES) < TABLE_BYTES:
            self._table = NO_TABLE  # RFC 7541 section 4.2: the next block says so, and that is for good
        grown, self._initial = initial > self._initial, initial
        if grown and self.unsent:
            for stream in streams.values():
                self._enqueue(stream)

    def open(self, stream: Stream | None, amount: int) -> bool:
        """The client takes more, of one stream or of all; returns whether the window is one the protocol allows."""
        if stream is None:
            self._window += amount
            return self._window <= MAX_WINDOW
        stream.window += amount
        self._enqueue(stream)
        return self._initial + stream.window <= MAX_WINDOW

    def answer(self, stream: Stream, head: bytes, body: Sequence[bytes | memoryview] | None, end: bytes) -> bool:
        """Send an answer, or as much as goes; without a body the head is all of it. Returns whether all was sent."""
        number = stream.id
        if body is None:
            self.write(self._block(_LAST, number, head))
            return True
        size = PREFIX
        for chunk in body:
            size += chunk.nbytes if type(chunk) is memoryview else len(chunk)
        top = prefix(size - PREFIX)
        if size <= self._frame and size <= self._window and size <= self._initial + stream.window and not self.stuck:
            self._window -= size
            if self._table:
                head, self._table = self._table + head, b""
            self.write(answer(number, head, size, (top, *body), end))
            return True
        stream.start, stream.end = head, end
        stream.out, stream.offset = _pieces((top, *body)), 0
        self.unsent += size
        self._gate.budget.charge(size)
        self._enqueue(stream)
        return False

    def say(self, stream: Stream, head: bytes, body: Sequence[bytes | memoryview]) -> None:
        """Send a message of an answer that goes on, or as much as goes; with the first one the answer's head."""
        size = PREFIX + sum(memoryview(chunk).nbytes for chunk in body)
        top, number = prefix(size - PREFIX), stream.id
        self._calm.answered()
        most = min(self._frame, self._window, self._initial + stream.window)
        if stream.out is None and size <= most and not self.stuck:
            self._window -= size
            stream.window -= size
            start = self._block(END_HEADERS, number, head) if head else b""
            self.write(b"".join((start, header(size, DATA, 0, number), top, *body)))
            return
        stream.start = stream.start or head
        if stream.out is None:
            stream.out, stream.offset = deque(), 0
        stream.out += _pieces((top, *body))
        self.unsent += size
        self._gate.budget.charge(size)
        self._enqueue(stream)

    def end(self, stream: Stream, block: bytes) -> None:
        """Nothing follows what was said."""
        if stream.out is None:
            self.write(self._last(stream, block))
        else:
            stream.end = block

    def drop(self, stream: Stream) -> None:
        """Nobody wants the rest of this answer."""
        if stream.out is not None:
            left = sum(map(len, stream.out))
            stream.out = None
            self._give(left)

    def pause(self) -> None:
        """The transport has more than it wants; that is in memory too, so it is charged until all of it was sent."""
        self.stuck = True
        self._given = self._transport.get_write_buffer_size()
        self._gate.budget.charge(self._given)

    def resume(self) -> None:
        """The transport has sent all, or is gone."""
        self.stuck = False
        given, self._given = self._given, 0
        self._gate.budget.give(given)

    def pump(self) -> list[Stream]:
        """Send what windows and transport take; returns the streams of which nothing is left to send."""
        done: list[Stream] = []
        line = self._line
        while line and not self.stuck and not self.closed and not self._transport.is_closing():
            stream = line[0]
            if stream.out is not None and self._window <= 0:
                break
            line.popleft()
            stream.queued = False
            if stream.out is not None and self._send_some(stream):
                done.append(stream)
        return done

    @property
    def waiting(self) -> bool:
        """Whether any stream has something left to send."""
        return bool(self._line)

    def _enqueue(self, stream: Stream) -> None:
        if stream.out is not None and not stream.queued:
            stream.queued = True
            self._line.append(stream)

    def _send_some(self, stream: Stream) -> bool:
        """A turn of one stream; returns whether nothing is left of it."""
        out, number = stream.out, stream.id
        if out is None:
            return True
        parts: list[bytes | memoryview] = []
        if stream.start:
            parts.append(self._block(END_HEADERS, number, stream.start))
            stream.start = b""
        allowed = max(0, min(self._window, self._initial + stream.window, _TURN_BYTES))
        sent = freed = 0
        while out and sent < allowed:
            piece = out[0]
            part = memoryview(piece)[stream.offset : stream.offset + min(self._frame, allowed - sent)]
            parts += (header(len(part), DATA, 0, number), part)
            sent += len(part)
            stream.offset += len(part)
            if stream.offset == len(piece):
                freed += len(out.popleft())
                stream.offset = 0
        if not out:
            stream.out = None
            if stream.end:  # else its answer goes on
                parts.append(self._last(stream, stream.end))
        elif sent:
            self._enqueue(stream)
        self._window -= sent
        stream.window -= sent
        self._calm.moved(sent)
        self.flush()
        self._transport.writelines(parts)
        self._give(freed)
        return stream.out is None

    def _last(self, stream: Stream, block: bytes) -> bytes:
        """The end of an answer; a client that has not said all is told that nobody listens."""
        last = self._block(_LAST, stream.id, block)
        return last if stream.ended or stream.talk is None else last + reset(stream.id, Code.NO_ERROR)

    def _block(self, flags: int, number: int, block: bytes) -> bytes:
        """HEADERS; the first after the client's settings obeys them."""
        if self._table:
            block, self._table = self._table + block, b""
        return header(len(block), HEADERS, flags, number) + block

    def _give(self, size: int) -> None:
        self.unsent -= size
        self._gate.budget.give(size)


def _pieces(body: Sequence[bytes | memoryview]) -> deque[bytearray]:
    """A copy in pieces: what was sent of an answer is not in memory any more, however little the client reads."""
    pieces = deque((bytearray(),))
    for chunk in body:
        view, at = memoryview(chunk), 0
        if view.nbytes:
            view = view.cast("B")
        while at < view.nbytes:
            if len(pieces[-1]) == _TURN_BYTES:
                pieces.append(bytearray())
            part = view[at : at + _TURN_BYTES - len(pieces[-1])]
            pieces[-1] += part
            at += len(part)
    return pieces
