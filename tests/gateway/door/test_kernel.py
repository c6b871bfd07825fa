"""The kernel's buffers of a real connection."""

from __future__ import annotations

import socket

from changeover.gateway.door.kernel import Kernel


class Transport:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self.sock


def test_what_waits_in_each_direction() -> None:
    """Bytes that are not read; bytes the other end has no room for, and one more look after they are gone."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = socket.create_connection(listening.getsockname())
        here, _ = listening.accept()
    with there, here:
        kernel = Kernel(Transport(here))  # type: ignore[arg-type]
        assert kernel.unread() == 0
        assert [kernel.sending(), kernel.sending()] == [True, False]
        here.setblocking(False)
        sent = 0
        try:
            while True:
                sent += here.send(bytes(1 << 16))
        except BlockingIOError:
            pass
        assert [kernel.sending(), kernel.sending()] == [True, True]
        there.settimeout(10)
        while sent:
            sent -= len(there.recv(1 << 20))
        there.sendall(b"four")
        here.settimeout(10)
        assert here.recv(4, socket.MSG_PEEK | socket.MSG_WAITALL) == b"four"
        assert kernel.unread() == 4
        assert kernel.sending()
    assert kernel.unread() == 0
