"""The transport's account, on a real connection."""

from __future__ import annotations

from changeover.gateway.door.wire import Wire
from tests.gateway.door.served import Served, get, post


def wire_of(door: Served) -> Wire:
    (connection,) = door.server._gate.connections
    return connection._wire


def test_unread_counts_what_waits_in_the_kernel(door: Served) -> None:
    """While reading is paused, what the client sends is seen without being read."""
    with door.client() as client:
        client.send(get("/hold"))
        door.until(lambda: len(door.app.held) == 1)
        wire = wire_of(door)
        door.call(wire.pause)
        client.send(post(b"x" * 100))
        door.until(lambda: door.call(wire.unread) == len(post(b"x" * 100)), "the bytes")
        door.call(wire.resume)
        door.until(lambda: door.call(wire.unread) == 0, "the reading")
        door.call(lambda: door.app.held[0].respond(200, b"", ()))
        assert [client.answer().status for _ in range(2)] == [200, 200]


def test_closed_connection_has_nothing_unread(door: Served) -> None:
    """After the end the account answers instead of raising, and asks for no time."""
    with door.client() as client:
        client.send(get())
        client.answer()
        wire = wire_of(door)
    door.until(lambda: door.server.connections == 0)
    assert door.call(wire.unread) == 0
    assert not wire.stuck


def test_deadline_grows_with_what_is_unsent(door: Served) -> None:
    """An unsent answer has the base time and the time of its size; nothing unsent has the other time."""
    with door.client(receive_buffer=4096) as client:
        client.send(get())
        client.answer()
        wire, gate = wire_of(door), door.server._gate
        assert door.call(lambda: wire.deadline(1.5) - gate.now) == 1.5
        client.send(get("/large?16777216"))
        door.until(lambda: wire.stuck, "an unsent answer")
        seconds = door.call(lambda: wire.deadline(1.5) - gate.now)
        assert 20 + 20 < seconds <= 20 + 64
        assert len(client.answer().body) == 16777216
