"""A raw HTTP/2 client for the door's proof and its tests: it sends what it is told to, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass, field

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Frame
from changeover.gateway.door.http2.hpack import Decoder, encode
from changeover.gateway.door.http2.message import PREFIX, prefix

POST = b"\x83\x86"
"""`:method POST` and `:scheme http` of the static table."""
OPENING = frames.PREFACE + frames.settings({})


def head(path: str, *fields: tuple[bytes, bytes]) -> bytes:
    """The block of a call."""
    kind = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    return POST + encode([(b":path", path.encode()), (b":authority", b"door"), *kind, *fields])


def begin(stream: int, path: str, *fields: tuple[bytes, bytes]) -> bytes:
    """HEADERS that begin a call."""
    return frames.frame(frames.HEADERS, frames.END_HEADERS, stream, head(path, *fields))


def data(stream: int, payload: bytes, *, end: bool = True) -> bytes:
    """DATA, in frames the door takes."""
    most = frames.MAX_FRAME
    parts = [payload[at : at + most] for at in range(0, len(payload), most)] or [b""]
    flags = [0] * (len(parts) - 1) + [frames.END_STREAM if end else 0]
    return b"".join(frames.frame(frames.DATA, flag, stream, part) for flag, part in zip(flags, parts, strict=True))


def call(stream: int, path: str, message: bytes) -> bytes:
    """A whole call, for a message that fits the first window."""
    return begin(stream, path) + data(stream, prefix(len(message)) + message)


@dataclass
class Answer:
    """What has come for one stream."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """Of gRPC; -1 without one."""
        return int(self.fields.get(b"grpc-status", b"-1"))

    @property
    def message(self) -> bytes:
        return bytes(self.data[PREFIX:])


class Wire:
    """A connection that takes frames apart as they come; by default it opens its windows by what it has read."""

    def __init__(
        self,
        port: int,
        *,
        opening: bytes = OPENING,
        receive_buffer: int = 0,
        timeout: float = 15.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        self.frames: list[Frame] = []
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pongs = self.updates = 0
        self.reopens = True
        self._decoder = Decoder(1 << 20)
        self._got = b""
        self._next = 1
        self.send(opening)

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, raw: bytes) -> None:
        self.sock.sendall(raw)

    def ask(self, path: str, message: bytes) -> bytes:
        """One call with a good answer; raises OSError otherwise."""
        stream, self._next = self._next, self._next + 2
        self.send(call(stream, path, message))
        answer = self.wait(stream)
        if answer.status != 0:
            raise ConnectionError(f"{answer.fields} reset {answer.reset} goaway {self.goaways}")
        del self.answers[stream]
        return answer.message

    def wait(self, stream: int) -> Answer:
        """Read until the stream has ended; raises OSError when the connection ends before."""
        while True:
            answer = self.answers.get(stream)
            if answer is not None and answer.ended:
                return answer
            self.read()

    def read(self) -> None:
        """Read some frames; raises OSError at the end or the time-out."""
        part = self.sock.recv(1 << 18)
        if not part:
            raise ConnectionError(f"the end; GOAWAY {self.goaways}")
        self._got += part
        at = 0
        while len(self._got) - at >= 9:
            end = at + 9 + int.from_bytes(self._got[at : at + 3], "big")
            if end > len(self._got):
                break
            top = self._got[at : at + 9]
            self._take(Frame(top[3], top[4], int.from_bytes(top[5:9], "big"), self._got[at + 9 : end]))
            at = end
        self._got = self._got[at:]

    def drained(self, seconds: float) -> bool:
        """Read what comes until the server ends the connection; returns whether it did in that time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                self.read()
            except TimeoutError:
                return False
            except OSError:
                return True
        return False

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        payload = bytes(frame.payload)
        answer = self.answers.setdefault(frame.stream, Answer()) if frame.stream else Answer()
        if frame.kind == frames.HEADERS:
            answer.fields.update(self._decoder.decode(payload))
        elif frame.kind == frames.DATA:
            answer.data += payload
            if self.reopens and payload:
                with contextlib.suppress(OSError):
                    size = len(payload)
                    self.send(frames.window_update(0, size) + frames.window_update(frame.stream, size))
        elif frame.kind == frames.RST_STREAM:
            answer.reset, answer.ended = int.from_bytes(payload, "big"), True
        elif frame.kind == frames.GOAWAY:
            self.goaways.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
        elif frame.kind == frames.PING and not frame.flags & frames.ACK:
            self.send(frames.frame(frames.PING, frames.ACK, 0, payload))
        self.pongs += frame.kind == frames.PING and bool(frame.flags & frames.ACK)
        self.updates += frame.kind == frames.WINDOW_UPDATE
        if frame.kind in (frames.HEADERS, frames.DATA) and frame.flags & frames.END_STREAM:
            answer.ended = True
