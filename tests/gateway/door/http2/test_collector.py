"""Data of calls to whole messages, within the gateway's budget."""

from __future__ import annotations

import pytest

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Code
from changeover.gateway.door.http2.message import prefix
from changeover.gateway.door.limits import KIB, MIB
from tests.gateway.door.http2.served import ECHO, HOLD, Served, serving

from grpc_door_wire import begin, call, data  # isort: skip


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 65_530, 65_531, 200_000, 5 * MIB])
def test_messages_of_any_size_come_back(door2: Served, size: int) -> None:
    """Around the edges of a frame and of the first window, and far beyond."""
    body = bytes(range(256)) * (size // 256 + 1)
    with door2.wire() as wire:
        wire.send(begin(1, ECHO) + data(1, prefix(size) + body[: min(size, 65_000)], end=size <= 65_000))
        if size > 65_000:
            wire.reopens = False
            while wire.updates < (1 if size + 5 <= frames.DEFAULT_WINDOW else 2):  # the connection's, the stream's
                wire.read()
            wire.reopens = True
            _send_within_the_window(wire, body[65_000:size])
        assert wire.wait(1).message == body[:size]


def _send_within_the_window(wire: object, rest: bytes) -> None:
    """The proof's client has no windows of its own for sending: go slowly enough for the connection's."""
    import threading

    from grpc_door_wire import Wire

    assert isinstance(wire, Wire)
    step = 400 * KIB
    parts = [rest[at : at + step] for at in range(0, len(rest), step)]

    def send() -> None:
        for number, part in enumerate(parts):
            wire.send(data(1, part, end=number == len(parts) - 1))

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(10)


def test_a_stalled_message_stands_in_nobody_s_way(door2: Served) -> None:
    """Calls that began a message and stopped; another one on the same connection is answered a hundred times."""
    with door2.wire() as wire:
        for stream in range(1, 31, 2):
            wire.send(begin(stream, HOLD) + data(stream, prefix(4 * MIB) + bytes(60_000), end=False))
        for stream in range(31, 231, 2):
            wire.send(call(stream, ECHO, b"%d" % stream))
            assert wire.wait(stream).message == b"%d" % stream


def test_a_message_waits_for_the_budget_and_gets_its_place() -> None:
    """The second large message is taken when the first was answered; a small one passes both."""
    with serving(gateway_bytes=4 * MIB, wait_seconds=60.0) as door2, door2.wire() as wire:
        wire.send(begin(1, HOLD) + data(1, prefix(2_900_000) + bytes(60_000), end=False))
        door2.until(lambda: door2.server.budget_used == 2_900_000)
        wire.send(begin(3, ECHO) + data(3, prefix(100_000) + bytes(60_000), end=False))
        wire.send(begin(5, ECHO) + data(5, prefix(300_000) + bytes(60_000), end=False))
        wire.send(call(7, ECHO, b"small"))
        assert wire.wait(7).message == b"small"
        wire.send(data(3, bytes(40_000)))
        assert len(wire.wait(3).message) == 100_000
        assert 5 not in wire.answers or not wire.answers[5].ended
        wire.send(frames.reset(1, Code.CANCEL))
        door2.until(lambda: door2.server.budget_used == 300_000)
        wire.send(data(5, bytes(240_000)))
        assert len(wire.wait(5).message) == 300_000


def test_a_message_that_waits_too_long_is_shed() -> None:
    """UNAVAILABLE, and the budget's line is left; an empty message, as health's, does not wait at all."""
    with serving(gateway_bytes=MIB, wait_seconds=0.2) as door2, door2.wire() as wire:
        wire.send(begin(1, HOLD) + data(1, prefix(MIB) + bytes(60_000), end=False))
        door2.until(lambda: door2.server.budget_used == MIB)
        wire.send(begin(3, ECHO) + data(3, prefix(500_000) + bytes(10), end=False) + call(5, ECHO, b"small"))
        wire.send(call(7, ECHO, b""))
        assert wire.wait(7).status == 0
        assert [wire.wait(stream).status for stream in (3, 5)] == [14, 14]
        assert door2.server.counts.shed == 2
        assert wire.answers[3].fields[b"changeover-reason"] == b"overloaded"


def test_a_waiting_message_whose_call_is_cancelled_leaves_the_line() -> None:
    """What is freed later goes to nobody who is gone."""
    with serving(gateway_bytes=MIB, wait_seconds=60.0) as door2, door2.wire() as wire:
        wire.send(begin(1, HOLD) + data(1, prefix(MIB) + bytes(60_000), end=False))
        door2.until(lambda: door2.server.budget_used == MIB)
        wire.send(begin(3, ECHO) + data(3, prefix(500_000) + bytes(10), end=False) + frames.reset(3, Code.CANCEL))
        wire.send(call(5, ECHO, b""))
        wire.wait(5)
        wire.send(frames.reset(1, Code.CANCEL) + call(7, ECHO, b"x"))
        assert wire.wait(7).message == b"x"
        assert door2.server.budget_used == 0
