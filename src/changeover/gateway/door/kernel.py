"""What the kernel holds of a connection, behind the transport's back."""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import asyncio
    import socket


class Kernel:
    """The bytes of one connection in the kernel's buffers."""

    __slots__ = ("_socket", "_was_sending")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("socket.socket", transport.get_extra_info("socket"))
        self._was_sending = True

    def unread(self) -> int:
        """Bytes from the client that wait."""
        return self._queued(termios.FIONREAD)

    def sending(self) -> bool:
        """Whether bytes may be on their way that a transport with TLS does not count any more.

        Between two pieces the kernel has none of them, so only two looks in a row that find none say no.
        """
        before, self._was_sending = self._was_sending, self._queued(termios.TIOCOUTQ) > 0
        return before or self._was_sending

    def _queued(self, direction: int) -> int:
        try:
            size = fcntl.ioctl(self._socket.fileno(), direction, b"\0\0\0\0")
        except (OSError, ValueError):
            return 0  # closed a moment ago
        return int(struct.unpack("i", size)[0])
