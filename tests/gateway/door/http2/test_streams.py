"""The ways a stream ends."""

from __future__ import annotations

from changeover.gateway.door.http2.frames import Code
from changeover.gateway.door.http2.message import prefix
from tests.gateway.door.http2.served import ECHO, HOLD, Served

from grpc_door_wire import begin, call, data  # isort: skip


def test_a_refused_call_is_told_why_and_stopped(door2: Served) -> None:
    """Status, sentence and reason word; a client that still sends is told to stop, without blame."""
    with door2.wire() as wire:
        wire.send(begin(1, ECHO) + data(1, prefix(65 << 20) + b"x", end=False))
        answer = wire.wait(1)
        assert answer.status == 8
        assert answer.fields[b"changeover-reason"] == b"too_large"
        wire.send(call(3, ECHO, b"x"))
        wire.wait(3)
        assert answer.reset == Code.NO_ERROR


def test_calls_without_a_message_or_with_two(door2: Served) -> None:
    """A unary call has one message: the others are told, the application hears nothing."""
    with door2.wire() as wire:
        wire.send(begin(1, ECHO) + data(1, b""))
        wire.send(begin(3, ECHO) + data(3, (prefix(1) + b"x") * 2))
        wire.send(begin(5, ECHO) + data(5, prefix(9) + b"x"))
        wire.send(begin(7, ECHO) + data(7, b"\1" + prefix(1)[1:] + b"x"))
        told = [(wire.wait(n).status, wire.answers[n].fields[b"changeover-reason"]) for n in (1, 3, 5, 7)]
    assert told == [
        (12, b"missing_message"),
        (12, b"several_messages"),
        (13, b"truncated_message"),
        (13, b"compressed_message"),
    ]
    assert door2.app.seen == []
    assert door2.server.counts.refused == 4


def test_what_a_call_held_is_given_back_when_it_is_answered(door2: Served) -> None:
    """The budget is charged with the message while the application has it."""
    with door2.wire() as wire:
        wire.send(call(1, HOLD, bytes(1000)))
        door2.until(lambda: len(door2.app.held) == 1)
        assert door2.server.budget_used == 1000
        door2.call(lambda: door2.app.held[0].respond((b"x",)))
        wire.wait(1)
        assert door2.server.budget_used == 0
