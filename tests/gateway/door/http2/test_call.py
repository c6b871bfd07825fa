"""What the application sees of a call, and how it answers."""

from __future__ import annotations

from tests.gateway.door.http2.served import ECHO, HOLD, Served

from grpc_door_wire import begin, call, data  # isort: skip


def test_what_a_call_tells(door2: Served) -> None:
    """Path, fields, time and message."""
    with door2.wire() as wire:
        wire.send(begin(1, ECHO, (b"grpc-timeout", b"1500m"), (b"changeover-key", b"k")) + data(1, b"\0\0\0\0\2hi"))
        wire.wait(1)
    seen = door2.app.seen[0]
    assert (seen.path, seen.timeout, bytes(seen.body)) == (ECHO, 1.5, b"hi")
    assert seen.headers[b"changeover-key"] == b"k"
    assert repr(seen) == "<Call /echo.Echo/Echo 2 bytes>"
    assert seen.body.readonly
    assert not seen.open


def test_an_answer_in_parts_with_fields(door2: Served) -> None:
    """The chunks are one message; the fields come before it."""
    with door2.wire() as wire:
        wire.send(call(1, "/echo.Echo/Parts", b""))
        answer = wire.wait(1)
        assert (answer.message, answer.status, answer.fields[b"epoch"]) == (b"onetwo", 0, b"7")


def test_an_error(door2: Served) -> None:
    """Status, percent-encoded sentence and fields, without a message."""
    with door2.wire() as wire:
        wire.send(call(1, "/echo.Echo/Fail", b""))
        answer = wire.wait(1)
        assert (answer.status, answer.fields[b"reason"], bytes(answer.data)) == (5, b"gone", b"")
        assert answer.fields[b"grpc-message"] == b"no such model: 100 %25 gone, %C3%BC"


def test_only_the_first_answer_counts(door2: Served) -> None:
    """A second one does nothing."""
    with door2.wire() as wire:
        wire.send(call(1, HOLD, b""))
        door2.until(lambda: len(door2.app.held) == 1)
        held = door2.app.held[0]
        assert held.open
        door2.call(lambda: (held.respond((b"first",)), held.respond((b"second",))))
        assert wire.wait(1).message == b"first"
        wire.send(call(3, "/echo.Echo/Certified", b""))
        assert wire.wait(3).message == b"no"
