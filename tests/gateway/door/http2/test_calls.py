"""Calls and the application."""

from __future__ import annotations

import logging

import pytest

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Setting
from tests.gateway.door.http2.served import ECHO, LARGE, Served, serving

from grpc_door_wire import call  # isort: skip


def test_an_application_that_raises(door2: Served, caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets INTERNAL, the log the rest, and the connection goes on."""
    with caplog.at_level(logging.ERROR), door2.wire() as wire:
        wire.send(call(1, "/echo.Echo/Raise", b""))
        assert wire.wait(1).status == 13
        wire.send(call(3, ECHO, b"x"))
        assert wire.wait(3).message == b"x"
    assert "the application raised" in caplog.text
    assert door2.server.in_flight == 0


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
