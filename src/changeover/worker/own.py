"""Memory of its own for what does not fit a slot, and what is said when there is none."""

from __future__ import annotations

import array
import mmap
import os
import socket

from changeover.errors import ModelRunFailed
from changeover.transport import channel


def map_own(ancillary: list[tuple[int, int, bytes]]) -> memoryview | None:
    """The memory of a batch that did not fit its slot.

    Raises:
        ModelRunFailed: there is no room left to map it (`out_of_memory`).
    """
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds = array.array("i", data)
            try:
                return memoryview(mmap.mmap(fds[0], os.fstat(fds[0]).st_size))
            except OSError:
                raise out_of_memory("a large batch") from None
            finally:
                for fd in fds:
                    os.close(fd)
    return None


def room(memory: memoryview, need: int) -> tuple[memoryview, int | None]:
    """A slot's area when so many bytes fit, else memory of its own with its descriptor.

    Raises:
        ModelRunFailed: there is none (`out_of_memory`).
    """
    if need <= len(memory):
        return memory, None
    try:
        fd, memory = channel.own_memory(need)
    except OSError:
        raise out_of_memory(f"an answer of {need} bytes") from None
    return memory, fd


def out_of_memory(what: str) -> ModelRunFailed:
    """What a batch is told for which there is no memory."""
    return ModelRunFailed(f"no memory for {what}; raise runtime.memory_limit", reason="out_of_memory")
