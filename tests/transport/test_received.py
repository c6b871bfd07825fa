"""Memory that comes with an answer."""

from __future__ import annotations

import array
import os
import socket

import pytest

from changeover.errors import Internal
from changeover.transport.channel import own_memory as made
from changeover.transport.received import own_memory


def rights(*fds: int) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())]


def test_sealed_memory_is_mapped() -> None:
    """Its descriptor is closed."""
    fd, memory = made(64)
    memory[:3] = b"abc"
    found = own_memory(rights(fd))
    assert found is not None
    assert bytes(found[:3]) == b"abc"
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(fd)


def test_no_memory() -> None:
    """The answer lies in its slot."""
    assert own_memory([]) is None


@pytest.mark.parametrize("size", [64, 0])
def test_memory_that_could_shrink_is_refused(size: int) -> None:
    """Reading it could kill this process."""
    fd = os.memfd_create("test")
    os.ftruncate(fd, size)
    with pytest.raises(Internal) as refused:
        own_memory(rights(fd))
    assert refused.value.reason == "channel_malformed"
