"""The board: memory in which the gateways read what each of them has to say, without a message to anybody.

A memfd that the supervisor makes and only gateways map. Its first area belongs to all of them (what a client told one
gateway, and all must know), then comes one for each gateway, written by it alone and left to its successor. An area has
two halves: the next text goes into the half that is not in force, then its number is stored. A reader that meets a
writer sees it by the checksum, and looks again. Standard library only.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import zlib
from collections.abc import Callable

from changeover.errors import Internal, Overloaded
from changeover.transport.page import sealed_memfd

COMMON = 0
"""The area of all gateways; that of gateway `i` is `i` + 1."""
AREA = 1 << 20
_HEADER = struct.Struct("<QII")
_ROOM = 64
"""Bytes kept for the header; then come the halves."""
MOST = (AREA - _ROOM) // 2
"""Bytes of a text."""
_TRIES = 100


def create_board(gateways: int) -> int:
    """A new board with an area for each gateway, all empty (sparse)."""
    return sealed_memfd("changeover-board", (gateways + 1) * AREA)


class Board:
    """The mapped board.

    Args:
        fd: of `create_board`; stays the caller's to close, and must be open as long as `change` is used.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._map = mmap.mmap(fd, self._size, mmap.MAP_SHARED)

    @property
    def areas(self) -> range:
        """Those of the gateways."""
        return range(1, self._size // AREA)

    def number(self, area: int) -> int:
        """How often the area was written: its text changes with it."""
        number: int = _HEADER.unpack_from(self._map, area * AREA)[0]
        return number

    def read(self, area: int) -> bytes:
        """The text of an area, empty before the first.

        Raises:
            Internal: it is damaged (`board_damaged`).
        """
        at = area * AREA
        for _ in range(_TRIES):
            number, size, check = _HEADER.unpack_from(self._map, at)
            if not number:
                return b""
            start = at + _ROOM + (number & 1) * MOST
            text = self._map[start : start + min(size, MOST)]
            if zlib.crc32(text) == check:
                return text
        raise Internal(f"area {area} of the gateways' board is damaged", reason="board_damaged")

    def write(self, area: int, text: bytes) -> None:
        """Replace an area's text. Each gateway writes its own; the common one is written by `change`.

        Raises:
            Internal: there is no room for it (`board_full`).
        """
        if len(text) > MOST:
            raise Internal(f"{len(text)} bytes do not fit the gateways' board", reason="board_full")
        at = area * AREA
        number = self.number(area) + 1
        start = at + _ROOM + (number & 1) * MOST
        self._map[start : start + len(text)] = text
        _HEADER.pack_into(self._map, at, number, len(text), zlib.crc32(text))

    def change(self, next_text: Callable[[bytes], bytes]) -> None:
        """Replace the common text by what is made of it, while no other gateway does.

        Raises:
            Overloaded: another gateway is at it (`board_busy`); nothing was changed.
            Internal: there is no room, or the text is damaged.
        """
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Overloaded("another gateway writes what all of them share; try again", reason="board_busy") from None
        try:
            self.write(COMMON, next_text(self.read(COMMON)))
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)
