"""Answers of many messages that end with the client, or with the connection."""

from __future__ import annotations

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.door.http2.frames import Code
from changeover.gateway.door.http2.message import prefix
from changeover.gateway.door.http2.talk import Turn
from tests.gateway.door.http2.served import ECHO, TALK, Served, serving

from grpc_door_wire import Wire, begin, call, data  # isort: skip


def framed(*parts: bytes) -> bytes:
    """Messages as they are sent."""
    return b"".join(prefix(len(part)) + part for part in parts)


def ask(door2: Served, wire: Wire) -> Turn:
    """One message and no more, whose answer has begun."""
    wire.send(begin(1, TALK) + data(1, framed(b"Last:a")))
    door2.until(lambda: len(door2.app.held) == 1)
    turn = door2.app.held[0]
    assert isinstance(turn, Turn)
    return turn


def test_an_answer_goes_on_until_its_error(door2: Served) -> None:
    """Every message goes out when it is told, the end with its code; the connection serves others meanwhile."""
    with door2.wire() as wire:
        turn = ask(door2, wire)
        wire.send(call(3, ECHO, b"y"))
        assert wire.wait(3).message == b"y"
        door2.call(lambda: turn.tell((b"b",)))
        door2.call(lambda: turn.fail(Status.DEADLINE_EXCEEDED, "it is over"))
        answer = wire.wait(1)
        assert (bytes(answer.data), answer.status) == (framed(b"a", b"b"), Status.DEADLINE_EXCEEDED)
        door2.call(lambda: turn.tell((b"c",)))
        assert door2.server.in_flight == 0


def test_it_is_no_work_that_a_leaving_connection_waits_for(door2: Served) -> None:
    """The client is told to begin again, elsewhere; nothing was in flight."""
    with door2.wire() as wire:
        ask(door2, wire)
        assert door2.server.in_flight == 0
        door2.call(door2.server.lame_duck)
        answer = wire.wait(1)
        assert (bytes(answer.data), answer.status) == (framed(b"a"), Status.UNAVAILABLE)
        assert wire.drained(5.0)
        assert door2.app.abandoned == [TALK]


def test_a_client_that_has_enough_is_told_no_more(door2: Served) -> None:
    """Its reset reaches the application once, and is no work that was lost."""
    with door2.wire() as wire:
        turn = ask(door2, wire)
        wire.send(frames.reset(1, Code.CANCEL))
        door2.until(lambda: door2.app.abandoned == [TALK])
        door2.call(lambda: turn.tell((b"b",)))
        wire.send(call(3, ECHO, b"y"))
        wire.wait(3)
        assert bytes(wire.answers[1].data) == framed(b"a")
        assert door2.server.counts.abandoned == 0


def test_a_client_that_does_not_read_is_ended() -> None:
    """What is told to it waits for its window, and its time is that of every answer."""
    with serving(write_seconds=0.3) as door2, door2.wire() as wire:
        wire.reopens = False
        turn = ask(door2, wire)
        for _ in range(2):
            door2.call(lambda: turn.tell((bytes(60_000),)))
        assert door2.server.budget_used > 0
        assert wire.wait(1).reset == Code.CANCEL
        door2.until(lambda: door2.app.abandoned == [TALK])
