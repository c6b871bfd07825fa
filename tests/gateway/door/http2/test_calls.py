"""Calls and the application."""

from __future__ import annotations

import logging

import pytest

from changeover.gateway.door.http2 import frames, turns
from changeover.gateway.door.http2.frames import Setting
from changeover.gateway.door.http2.message import prefix
from tests.gateway.door.http2.served import ECHO, HOLD, LARGE, Served, serving

from grpc_door_wire import OPENING, begin, call, data  # isort: skip


def test_an_application_that_raises(door2: Served, caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets INTERNAL, the log the rest, and the connection goes on."""
    with caplog.at_level(logging.ERROR), door2.wire() as wire:
        wire.send(call(1, "/echo.Echo/Raise", b""))
        assert wire.wait(1).status == 13
        wire.send(call(3, ECHO, b"x"))
        assert wire.wait(3).message == b"x"
    assert "the application raised" in caplog.text
    assert door2.server.in_flight == 0


def test_nothing_is_taken_in_of_a_call_that_may_not(door2: Served) -> None:
    """It is answered on its fields alone; one that may is answered when its message is there."""
    with door2.wire() as wire:
        wire.send(begin(1, ECHO) + begin(3, "/echo.Echo/Private"))
        answer = wire.wait(3)
        assert (answer.status, answer.fields[b"changeover-reason"]) == (16, b"unauthenticated")
        assert (1 in wire.answers, door2.app.seen, door2.server.budget_used) == (False, [], 0)
        wire.send(data(3, prefix(60_000) + bytes(60_000)) + data(1, prefix(1) + b"x"))
        assert wire.wait(1).message == b"x"
        assert [seen.path for seen in door2.app.seen] == [ECHO]
        assert door2.server.counts.refused == 1


def test_an_application_that_raises_at_the_fields(door2: Served, caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets INTERNAL, and the connection goes on."""
    with caplog.at_level(logging.ERROR), door2.wire() as wire:
        wire.send(begin(1, "/echo.Echo/Raises"))
        assert wire.wait(1).status == 13
        wire.send(call(3, ECHO, b"x"))
        assert wire.wait(3).message == b"x"
    assert "the application raised" in caplog.text


def test_calls_behind_unread_answers_go_on_when_those_were_read() -> None:
    """In their order, and the application has none of them before."""
    shut = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 0})
    with serving(wait_seconds=60.0) as door2, door2.wire(opening=shut) as wire:
        first = b"".join(call(stream, LARGE, b"17000000") for stream in (1, 3))
        wire.send(first + b"".join(call(stream, ECHO, b"") for stream in range(5, 405, 2)))
        wire.send(call(405, ECHO, b""))
        door2.until(lambda: door2.server.counts.requests == 2)
        wire.send(frames.reset(1, 8) + frames.settings({Setting.INITIAL_WINDOW_SIZE: 1000}))
        for stream in range(5, 407, 2):
            assert wire.wait(stream).status == 0
        wire.send(frames.reset(3, 8))
        door2.until(lambda: door2.server.budget_used == 0)


def test_a_window_made_smaller_while_an_answer_waits(door2: Served) -> None:
    """A stream's window may be below zero then; it is opened from there (RFC 9113 section 6.9.2)."""
    opening = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 100})
    with door2.wire(opening=opening) as wire:
        wire.reopens = False
        wire.send(call(1, LARGE, b"1000"))
        while not (answer := wire.answers.get(1)) or len(answer.data) < 100:
            wire.read()
        wire.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 40}) + frames.window_update(1, 60))
        wire.send(call(3, ECHO, b""))
        wire.wait(3)
        assert len(answer.data) == 100
        wire.send(frames.window_update(1, 50))
        while len(answer.data) < 150:
            wire.read()
        wire.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 2000}))
        assert len(wire.wait(1).message) == 1000


def test_answers_nobody_reads_make_further_calls_wait_and_then_shed(door2: Served) -> None:
    """32 MiB of a connection; then its calls wait and are refused, and others are not touched."""
    shut = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 0})
    with door2.wire(opening=shut) as wire, door2.wire(opening=OPENING) as beside:
        wire.send(b"".join(call(stream, LARGE, b"17000000") for stream in (1, 3)) + call(5, HOLD, b"x"))
        assert wire.wait(5).status == 14
        assert wire.answers[5].fields[b"changeover-reason"] == b"overloaded"
        assert beside.ask(ECHO, b"x") == b"x"
        assert door2.app.held == []
        wire.send(frames.reset(1, 8) + call(7, ECHO, b""))
        door2.until(lambda: door2.server.counts.requests == 4)


def test_calls_that_came_together_are_handed_over_together(door2: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, after the frames of all of them; who is cancelled by then is not handed over."""
    monkeypatch.setattr(turns, "_TURN_SECONDS", 60.0)  # which a busy machine does not end between two frames
    with door2.wire() as wire:
        held = b"".join(call(number, HOLD, b"x") for number in (1, 3, 5))
        wire.send(held + frames.reset(3, frames.Code.CANCEL) + call(7, ECHO, b"y"))
        assert wire.wait(7).message == b"y"
        assert [seen.path for seen in door2.app.seen] == [HOLD, HOLD, ECHO]
        assert (door2.app.abandoned, door2.server.counts.abandoned, door2.server.in_flight) == ([], 0, 2)
        door2.call(lambda: [one.respond((b"z",)) for one in door2.app.held])
        assert [wire.wait(number).message for number in (1, 5)] == [b"z", b"z"]
