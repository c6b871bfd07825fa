"""A stream's plain state."""

from __future__ import annotations

import math

from changeover.gateway.door.http2.fields import Head
from changeover.gateway.door.http2.frames import DEFAULT_WINDOW
from changeover.gateway.door.http2.message import Message, prefix
from changeover.gateway.door.http2.stream import Stream


def test_a_grant_is_told_once() -> None:
    """Who waited hears of the budget's grant one time, and nobody when none waits any more."""
    told: list[Stream] = []
    stream = Stream(1, Head(b"POST", "/a.B/C", {}, None, True), 1.0, 2.0)
    stream.granted()
    stream.on_grant = told.append
    stream.granted()
    stream.granted()
    assert (told, stream.charged) == ([stream], 0)


def test_what_was_granted_is_charged() -> None:
    """A message that waited holds its bytes of the budget from the grant on."""
    stream = Stream(1, Head(b"POST", "/a.B/C", {}, None, True), 1.0, 2.0)
    stream.message = Message(100)
    stream.message.feed(prefix(42))
    stream.on_grant = lambda _: None
    stream.granted()
    assert stream.charged == 42


def test_a_new_stream_may_send_its_first_window() -> None:
    """And owes its message until the application has it."""
    stream = Stream(1, Head(b"POST", "/a.B/C", {}, None, True), 1.0, 2.0)
    assert (stream.room, stream.due) == (DEFAULT_WINDOW, 2.0)
    stream.wait_for_nothing()
    assert stream.due == math.inf
