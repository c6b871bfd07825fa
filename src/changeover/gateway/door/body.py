"""Sized request bodies: a buffer made from content-length, filled as the bytes come (no I/O)."""

from __future__ import annotations

import mmap
from typing import Final

from changeover.gateway.door.limits import KIB

_MAPPED_BYTES: Final = 512 * KIB
"""From here on the buffer is an anonymous mapping: a claim that is never sent costs no memory, and the
memory goes back to the system at once."""


class SizedBody:
    """Collects a body of `length` bytes.

    Attributes:
        received: bytes so far.
        turn_over: always false; see `ChunkedBody`.
    """

    __slots__ = ("_length", "_view", "received")

    turn_over: Final = False

    def __init__(self, length: int) -> None:
        self._length = length
        self.received = 0
        if length < _MAPPED_BYTES:
            self._view = memoryview(bytearray(length))
        else:
            self._view = memoryview(mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def feed(self, data: bytes, start: int) -> int:
        """Take bytes of `data` from `start` on; returns the first position not taken."""
        part = data if start == 0 else memoryview(data)[start:]
        room = self._length - self.received
        if len(part) > room:
            part = part[:room]
        end = self.received + len(part)
        self._view[self.received : end] = part
        self.received = end
        return start + len(part)

    @property
    def done(self) -> bool:
        """Whether the whole body is there."""
        return self.received == self._length

    def view(self) -> memoryview:
        """The body; read-only, it owns its memory."""
        return self._view.toreadonly()
