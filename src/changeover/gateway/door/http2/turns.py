"""Reading in turns: however much a client sends, the others wait two milliseconds at most, or for one frame."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from changeover.gateway.door.http2.frames import Broken, Frame, FrameReader
from changeover.gateway.door.http2.outbound import Outbound
from changeover.gateway.door.limits import INBOX_BYTES

_TURN_SECONDS: Final = 0.002
_TAKEN_FRAMES: Final = 16


class Reader(Protocol):
    """Who reads: the connection."""

    def begin(self, now: float, until: float) -> None:
        """A turn begins; work that is left over when `until` is past waits for the next one."""

    def rest(self) -> None:
        """Frames that were read together are obeyed."""

    def end(self) -> None:
        """The turn is over."""

    def broken(self, broken: Broken) -> None:
        """The turn was ended by a broken rule."""


class Turns:
    """The input of one connection, cut into frames, and the pauses of its reading.

    Args:
        obey: takes each frame; raises `Broken` when nothing more can be read.
        reader: is told of the turns.

    Attributes:
        stopped: no frame is read any more; input is thrown away.
    """

    __slots__ = ("_frames", "_obey", "_out", "_paused", "_reader", "_scheduled", "_taken", "_transport", "stopped")

    def __init__(
        self, transport: asyncio.Transport, out: Outbound, obey: Callable[[Frame], None], reader: Reader
    ) -> None:
        self._transport = transport
        self._out = out
        self._obey = obey
        self._reader = reader
        self._frames = FrameReader()
        self._taken: deque[Frame] = deque()
        self._scheduled = self._paused = self.stopped = False

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        if self.stopped:
            return
        self._frames.feed(data)
        if not self._scheduled and not self._out.stuck:
            self._turn()
        elif self._frames.held > INBOX_BYTES:
            self._pause()

    def schedule(self) -> None:
        """A turn after the other connections had theirs."""
        if not self._scheduled and not self.stopped:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)
        if self._frames.held > INBOX_BYTES:
            self._pause()

    def stop(self) -> None:
        """Read no more frames; what is here and what still comes is thrown away."""
        self.stopped = True
        self._frames.clear()
        self._taken.clear()
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    @property
    def idle(self) -> bool:
        """Whether no input is left and no turn is due."""
        return not self._scheduled and not self._taken and not self._frames.held

    def _go_on(self) -> None:
        self._scheduled = False
        if not self.stopped:
            self._turn()

    def _turn(self) -> None:
        now = monotonic()
        until = now + _TURN_SECONDS
        self._reader.begin(now, until)
        try:
            self._read(until)
        except Broken as broken:
            self._reader.broken(broken)
            return
        if self.stopped:
            return
        self._reader.end()
        if self._paused and not self._scheduled and not self._out.stuck and not self.stopped:
            self._paused = False
            self._transport.resume_reading()

    def _read(self, until: float) -> None:
        taken, obey, out = self._taken, self._obey, self._out
        while not self.stopped and not out.stuck:
            if not taken:
                if not self._frames.held:
                    return
                taken.extend(self._frames.take(_TAKEN_FRAMES))
                if not taken:
                    return
            obey(taken.popleft())
            if not taken:
                self._reader.rest()
            if monotonic() >= until:  # after each: one with a packed message may take as long as thousands
                self.schedule()
                return

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()
