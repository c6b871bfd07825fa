"""The way in of one connection: the frames of calls, checked against windows and rules."""

from __future__ import annotations

import math
from typing import Final

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.calm import Calm
from changeover.gateway.door.http2.collector import Collector
from changeover.gateway.door.http2.fields import HeadReader, Malformed
from changeover.gateway.door.http2.frames import Broken, Code, Frame
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.stream import Stream
from changeover.gateway.door.http2.streams import Streams
from changeover.gateway.door.limits import MIB

WINDOW: Final = MIB
"""Bytes of data of all its calls that a client may have on their way."""
MOST_STREAMS: Final = 1000
"""Calls at once on one connection."""

_MOST_CONTINUATIONS: Final = 32
_PRIORITY_BYTES: Final = 5
_BEFORE: Final = frames.PADDED | frames.PRIORITISED
_NOTHING: Final = Frame(frames.HEADERS, 0, 0, b"")


class Inbound:
    """Frames to the streams they are of.

    Attributes:
        now: `time.monotonic()` of the frames that are read; set by the connection.
        assembling: the HEADERS whose block is not complete; of stream 0 when there is none.
    """

    __slots__ = (
        "_block", "_calm", "_collector", "_gate", "_head_after", "_head_due", "_heads", "_out", "_parts", "_room",
        "_streams", "assembling", "now",
    )  # fmt: skip

    def __init__(self, gate: Gate, out: Outbound, calm: Calm, streams: Streams, collector: Collector) -> None:
        self._gate = gate
        self._out = out
        self._calm = calm
        self._streams = streams
        self._collector = collector
        self._heads = HeadReader(gate.limits.header_bytes)
        self._room = WINDOW
        self._block = bytearray()
        self._parts = 0
        self._head_due = math.inf
        self._head_after = 0
        self.assembling = _NOTHING
        self.now = gate.now

    def headers(self, frame: Frame) -> None:
        """HEADERS: a call begins, or its trailers."""
        number = frame.stream
        if not number & 1:
            raise Broken(Code.PROTOCOL_ERROR, f"HEADERS on stream {number}")
        payload, flags = frame.payload, frame.flags
        if flags & _BEFORE:
            payload = _unwrapped(flags, payload)
        if flags & frames.END_HEADERS:
            self._fields(number, bytes(payload), bool(flags & frames.END_STREAM))
            return
        self._block = bytearray(payload)
        self._parts = 0
        self.assembling = frame

    def continuation(self, frame: Frame) -> None:
        """CONTINUATION: more of a header block; nothing else may come before its end."""
        begun = self.assembling
        if not begun.stream or frame.stream != begun.stream:
            raise Broken(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._parts += 1
        self._block += frame.payload
        if self._parts > _MOST_CONTINUATIONS or len(self._block) > self._gate.limits.header_bytes:
            raise Broken(Code.ENHANCE_YOUR_CALM, f"a header block over {self._gate.limits.header_bytes} bytes")
        if frame.flags & frames.END_HEADERS:
            block, self._block = bytes(self._block), bytearray()
            self.assembling = _NOTHING
            self._fields(begun.stream, block, bool(begun.flags & frames.END_STREAM))

    def data(self, frame: Frame) -> None:
        """DATA: a part of a message."""
        size = len(frame.payload)
        self._room -= size
        if self._room < 0:
            raise Broken(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        self._streams.credit += size
        stream = self._streams.open.get(frame.stream)
        if stream is None or stream.ended:
            self._stray(frame.stream, stream)
            return
        stream.room -= size
        if stream.room < 0:
            self._streams.reset(stream, Code.FLOW_CONTROL_ERROR)
            return
        payload, flags = frame.payload, frame.flags
        if flags & frames.PADDED:
            payload = frames.unpadded(flags, payload)
        stream.ended = bool(flags & frames.END_STREAM)
        if not payload and not stream.ended:
            self._calm.idle()
        self._calm.moved(size)
        self._collector.feed(stream, payload)

    def rst_stream(self, frame: Frame) -> None:
        """RST_STREAM: the client wants no answer any more."""
        frames.number(frame.payload, "RST_STREAM")
        self._streams.check_known(frame.stream)
        stream = self._streams.open.get(frame.stream)
        if stream is None:
            self._calm.idle()
        else:
            self._streams.cancel(stream)

    def window_update(self, frame: Frame) -> None:
        """WINDOW_UPDATE: the client takes more data."""
        amount = frames.number(frame.payload, "WINDOW_UPDATE") & frames.MAX_WINDOW
        self._calm.idle()
        if not frame.stream:
            if not amount or not self._out.open(None, amount):
                raise Broken(Code.FLOW_CONTROL_ERROR, "a window of nothing, or over 2^31-1")
            return
        self._streams.check_known(frame.stream)
        stream = self._streams.open.get(frame.stream)
        if stream is None:
            return
        if not amount:
            self._streams.reset(stream, Code.PROTOCOL_ERROR)
        elif not self._out.open(stream, amount):
            self._streams.reset(stream, Code.FLOW_CONTROL_ERROR)

    def flush(self) -> None:
        """Open the connection's window by what was taken, when that is more than the client still has of it.

        That is worth a frame, and messages that wait for the budget cannot make it too little for ever.
        """
        streams = self._streams
        if streams.credit > self._room:
            self._out.write(frames.window_update(0, streams.credit))
            self._room += streams.credit
            streams.credit = 0

    def head_due(self, idle: bool) -> float:
        """When a frame or block that was begun must be complete; infinite when none was, or a call's times count."""
        if self._streams.open or self._out.stuck or (idle and not self.assembling.stream):
            self._head_due = math.inf
        elif self._head_due == math.inf or self._head_after != self._streams.last:  # only a call renews it
            self._head_after = self._streams.last
            self._head_due = self._gate.now + self._gate.limits.header_seconds
        return self._head_due

    # -- inside

    def _fields(self, number: int, block: bytes, end: bool) -> None:
        streams = self._streams
        if number <= streams.last or number > streams.limit or len(streams.open) >= MOST_STREAMS:
            self._unwanted(number, block, end)
            return
        streams.last = number
        try:
            head = self._heads.read(block)
        except Malformed:
            self._calm.idle()
            self._out.write(frames.reset(number, Code.PROTOCOL_ERROR))
            return
        stream = Stream(number, head, self.now, self._gate.now + self._gate.limits.body_seconds)
        if not streams.add(stream):
            self._calm.idle()
            self._out.write(frames.reset(number, Code.REFUSED_STREAM))
            return
        stream.ended = end
        if not head.grpc or head.method != b"POST":
            self._calm.idle()
            streams.turn_away(stream)
        else:
            self._collector.begin(stream)

    def _unwanted(self, number: int, block: bytes, end: bool) -> None:
        """Trailers, a stream too many, or one after the final GOAWAY."""
        streams = self._streams
        self._heads.skip(block)
        self._calm.idle()
        stream = streams.open.get(number)
        if stream is not None:
            if not end or stream.ended:
                streams.reset(stream, Code.PROTOCOL_ERROR)
                return
            stream.ended = True
            self._collector.feed(stream, b"")
        elif streams.last < number <= streams.limit:
            streams.last = number
            self._out.write(frames.reset(number, Code.REFUSED_STREAM))

    def _stray(self, number: int, stream: Stream | None) -> None:
        """Data of a stream that is closed here: on its way when it was refused, or against the rules."""
        self._streams.check_known(number)
        self._calm.idle()
        if stream is not None:
            self._streams.reset(stream, Code.STREAM_CLOSED)


def _unwrapped(flags: int, payload: bytes | memoryview) -> bytes | memoryview:
    """The block of HEADERS without padding and priority."""
    payload = frames.unpadded(flags, payload)
    if not flags & frames.PRIORITISED:
        return payload
    if len(payload) < _PRIORITY_BYTES:
        raise Broken(Code.FRAME_SIZE_ERROR, "HEADERS without the priority they announce")
    return payload[_PRIORITY_BYTES:]
