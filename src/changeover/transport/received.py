"""What comes over a channel beside its slots is checked before it is believed."""

from __future__ import annotations

import array
import mmap
import os
import socket

from changeover.errors import Internal
from changeover.transport.page import is_sealed


def own_memory(ancillary: list[tuple[int, int, bytes]]) -> memoryview | None:
    """Memory that came with an answer; its size must be sealed, or reading it could kill this process.

    Raises:
        Internal: its size is not, or it cannot be mapped (`channel_malformed`).
    """
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    try:
        if not fds:
            return None
        if not is_sealed(fds[0]):
            raise Internal("memory whose size is not sealed", reason="channel_malformed")
        return memoryview(mmap.mmap(fds[0], os.fstat(fds[0]).st_size, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        raise Internal("memory that cannot be mapped", reason="channel_malformed") from None
    finally:
        for fd in fds:
            os.close(fd)
