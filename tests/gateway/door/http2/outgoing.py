"""An `Outbound` over a transport that keeps what is written."""

from __future__ import annotations

from changeover.gateway.door.gate import Gate
from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.calm import Calm
from changeover.gateway.door.http2.fields import Head
from changeover.gateway.door.http2.frames import FrameReader
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.stream import Stream
from changeover.gateway.door.limits import Limits


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.waiting = self.writes = 0
        self.closing = False

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.written += data

    def writelines(self, parts: list[bytes]) -> None:
        for part in parts:
            self.written += part


class Out:
    """An `Outbound` with what it has written, and its gate."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.gate = Gate(Limits())
        self.out = Outbound(self.gate, self.transport, Calm(0.0), lambda flush: flush())  # type: ignore[arg-type]

    def sent(self) -> dict[int, tuple[list[int], bytes]]:
        """By stream: the kinds of its frames, and its data."""
        reader = FrameReader()
        reader.feed(frames.PREFACE + bytes(self.transport.written))
        found: dict[int, tuple[list[int], bytes]] = {}
        for frame in reader.take(100_000):
            kinds, body = found.get(frame.stream, ([], b""))
            more = bytes(frame.payload) if frame.kind == frames.DATA else b""
            found[frame.stream] = ([*kinds, frame.kind], body + more)
        return found

    def blocks(self) -> list[bytes]:
        """The header blocks, in their order."""
        reader = FrameReader()
        reader.feed(frames.PREFACE + bytes(self.transport.written))
        return [bytes(frame.payload) for frame in reader.take(1000) if frame.kind == frames.HEADERS]


def stream(number: int) -> Stream:
    return Stream(number, Head(b"POST", "/a.B/C", {}, None, True), 0.0, 0.0)
