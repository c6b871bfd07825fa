"""The frames of a connection itself: what the client is told, and which of its frames goes where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.calm import Calm
from changeover.gateway.door.http2.frames import Broken, Code, Frame, Setting
from changeover.gateway.door.http2.inbound import MOST_STREAMS, WINDOW, Inbound
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.http2.streams import Streams

LEAVE_MARK: Final = b"changing"
"""The ping behind a first GOAWAY."""

_SETTINGS_BYTES: Final = 48
"""Eight settings: clients send about six."""


class Owner(Protocol):
    """Who is told: the connection."""

    def opened(self) -> None:
        """The client's first SETTINGS are there."""

    def heard(self) -> None:
        """The client has answered the ping behind the first GOAWAY."""


class Control:
    """Takes every frame: those of calls go to `Inbound`, those of the connection are obeyed here.

    Attributes:
        opened: the client's first SETTINGS were there; before them no other frame may come.
    """

    __slots__ = ("_calm", "_handlers", "_in", "_out", "_owner", "_streams", "opened")

    def __init__(self, inbound: Inbound, out: Outbound, calm: Calm, streams: Streams, owner: Owner) -> None:
        self._in = inbound
        self._out = out
        self._calm = calm
        self._streams = streams
        self._owner = owner
        self.opened = False
        self._handlers: dict[int, Callable[[Frame], None]] = {
            frames.DATA: inbound.data,
            frames.HEADERS: inbound.headers,
            frames.PRIORITY: self._priority,
            frames.RST_STREAM: inbound.rst_stream,
            frames.SETTINGS: self._settings,
            frames.PUSH_PROMISE: self._push,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.WINDOW_UPDATE: inbound.window_update,
            frames.CONTINUATION: inbound.continuation,
        }

    def greet(self, header_bytes: int) -> None:
        """Tell the client the rules."""
        rules = {Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS, Setting.MAX_HEADER_LIST_SIZE: header_bytes}
        self._out.write(frames.settings(rules) + frames.window_update(0, WINDOW - frames.DEFAULT_WINDOW))

    def ask_to_leave(self) -> None:
        """A first GOAWAY: no more calls, please; `Owner.heard` when the client has read it."""
        first = frames.goaway(frames.MAX_STREAM, Code.NO_ERROR, "leaving")
        self._out.write(first + frames.frame(frames.PING, 0, 0, LEAVE_MARK))

    def goaway(self, code: Code, why: str) -> None:
        """The last GOAWAY: calls up to the last one seen are taken."""
        self._out.write(frames.goaway(self._streams.last, code, why))

    def dispatch(self, frame: Frame) -> None:
        """Obey one frame.

        Raises:
            Broken: the connection cannot go on.
        """
        kind = frame.kind
        if self._in.assembling.stream and kind != frames.CONTINUATION:
            raise Broken(Code.PROTOCOL_ERROR, "a frame inside a header block")
        if not self.opened and kind != frames.SETTINGS:
            raise Broken(Code.PROTOCOL_ERROR, "the first frame is no SETTINGS")
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(frame)
        else:
            self._calm.idle()  # unknown kinds are to be ignored: RFC 9113 section 4.1

    def forget(self) -> None:
        """The connection is over: the handlers of this object refer to it."""
        self._handlers.clear()

    def _settings(self, frame: Frame) -> None:
        if frame.stream:
            raise Broken(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if frame.flags & frames.ACK:
            if frame.payload or not self.opened:
                raise Broken(Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with a payload, or of none")
            return
        self._calm.idle(1 + len(frame.payload) // _SETTINGS_BYTES)
        self._out.settle(dict(frames.pairs(frame.payload)), self._streams.open)
        self._out.write(frames.SETTINGS_ACK)
        if not self.opened:
            self.opened = True
            self._owner.opened()

    def _ping(self, frame: Frame) -> None:
        if frame.stream:
            raise Broken(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(frame.payload) != len(LEAVE_MARK):
            raise Broken(Code.FRAME_SIZE_ERROR, f"a PING of {len(frame.payload)} bytes")
        self._calm.idle()
        if not frame.flags & frames.ACK:
            self._out.write(frames.frame(frames.PING, frames.ACK, 0, bytes(frame.payload)))
        elif frame.payload == LEAVE_MARK:
            self._owner.heard()

    def _goaway(self, frame: Frame) -> None:
        self._calm.idle()  # the client opens no more streams; those that are open are answered
        if frame.stream or len(frame.payload) < 8:
            raise Broken(Code.PROTOCOL_ERROR, "a GOAWAY that is none")

    def _priority(self, frame: Frame) -> None:
        self._calm.idle()
        if not frame.stream:
            raise Broken(Code.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(frame.payload) != 5:
            raise Broken(Code.FRAME_SIZE_ERROR, f"a PRIORITY of {len(frame.payload)} bytes")

    def _push(self, frame: Frame) -> None:
        raise Broken(Code.PROTOCOL_ERROR, f"a push by a client, for stream {frame.stream}")
