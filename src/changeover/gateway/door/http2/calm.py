"""How much work for nothing one connection may ask for (pure)."""

from __future__ import annotations

from typing import Final

from changeover.gateway.door.http2.frames import Broken, Code

FRAMES: Final = 4000
"""Frames that bring no call forward (pings, settings, empty data, ...) a connection may send at once."""
FRAMES_A_SECOND: Final = 400.0
FRAMES_A_CALL: Final = 8
BYTES_A_FRAME: Final = 1024
"""Bytes of data, sent or taken, that excuse one such frame: windows are opened while data flows."""

RESETS: Final = 1000
"""Calls a client may cancel at once before its connection is replaced, without loss: DESIGN asks for a rotation."""
RESETS_A_SECOND: Final = 100.0


class Calm:
    """Two accounts that fill with time and with work done.

    The frames' account ends the connection when it is empty. Cancelled calls are often honest (a deadline that
    many callers miss), so theirs only asks for another connection.
    """

    __slots__ = ("_at", "_bytes", "_frames", "_resets")

    def __init__(self, now: float) -> None:
        self._at = now
        self._bytes = 0
        self._frames = float(FRAMES)
        self._resets = float(RESETS)

    def idle(self, count: int = 1) -> None:
        """Frames came that bring nothing forward.

        Raises:
            Broken: too many.
        """
        self._frames -= count
        if self._frames < 0:
            raise Broken(Code.ENHANCE_YOUR_CALM, "too many frames that bring no call forward")

    def reset(self) -> bool:
        """A call was cancelled; returns whether the connection has had its share of them."""
        self._resets -= 1
        return self._resets < 0

    def answered(self) -> None:
        """A call was answered."""
        if self._frames < FRAMES:
            self._frames = min(FRAMES, self._frames + FRAMES_A_CALL)
        if self._resets < RESETS:
            self._resets = min(RESETS, self._resets + 1)

    def moved(self, size: int) -> None:
        """Data went in or out."""
        self._bytes += size
        if self._bytes >= BYTES_A_FRAME:
            self._frames = min(FRAMES, self._frames + self._bytes // BYTES_A_FRAME)
            self._bytes %= BYTES_A_FRAME

    def pass_time(self, now: float) -> None:
        """Fill with the time since the last call."""
        passed, self._at = now - self._at, now
        self._frames = min(FRAMES, self._frames + passed * FRAMES_A_SECOND)
        self._resets = min(RESETS, self._resets + passed * RESETS_A_SECOND)
