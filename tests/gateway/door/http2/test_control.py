"""The frames of a connection itself."""

from __future__ import annotations

import pytest

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.frames import Code, Setting
from tests.gateway.door.http2.served import ECHO, HOLD, Served

from grpc_door_wire import begin, call  # isort: skip

PING = frames.frame(frames.PING, 0, 0, b"8 bytes!")


def test_pings_are_answered(door2: Served) -> None:
    """With their own bytes; an answer to a ping nobody sent is taken without a word."""
    with door2.wire() as wire:
        wire.send(PING + frames.frame(frames.PING, frames.ACK, 0, bytes(8)))
        wire.ask(ECHO, b"")
        pongs = [one for one in wire.frames if one.kind == frames.PING]
        assert [(one.flags, bytes(one.payload)) for one in pongs] == [(frames.ACK, b"8 bytes!")]


def test_what_needs_no_answer_is_taken(door2: Served) -> None:
    """PRIORITY, GOAWAY, an unknown frame and an unknown setting: the next call is answered."""
    with door2.wire() as wire:
        wire.send(frames.frame(frames.PRIORITY, 0, 9, bytes(5)) + frames.frame(0x77, 1, 1, b"?"))
        wire.send(frames.frame(frames.SETTINGS, 0, 0, b"\xff\xff" + bytes(4)))
        wire.send(frames.goaway(0, Code.NO_ERROR))
        assert wire.ask(ECHO, b"x") == b"x"


@pytest.mark.parametrize(
    ("flood", "limit"),
    [
        (PING, 4100),
        (frames.settings(dict.fromkeys((Setting.INITIAL_WINDOW_SIZE, Setting.MAX_FRAME_SIZE), 20_000)), 4100),
        (frames.frame(frames.SETTINGS, 0, 0, b"\x99\x99" + bytes(4)) * 1, 4100),
        (frames.frame(frames.PRIORITY, 0, 1, bytes(5)), 4100),
        (frames.frame(frames.DATA, 0, 1), 4100),
        (frames.window_update(0, 1), 4100),
        (frames.window_update(1, 1), 4100),
        (frames.frame(0x77, 0, 0), 4100),
        (frames.goaway(0, Code.NO_ERROR), 4100),
    ],
)
def test_floods_end_their_connection(door2: Served, flood: bytes, limit: int) -> None:
    """ENHANCE_YOUR_CALM after so many frames that bring nothing forward; others are served."""
    with door2.wire() as wire, door2.wire() as beside:
        wire.send(begin(1, HOLD) + flood * (limit // 2))
        assert beside.ask(ECHO, b"x") == b"x"
        with pytest.raises(OSError, match=r"the end|reset|pipe|abort"):  # noqa: PT012  (perhaps while sending)
            for _ in range(40):
                wire.send(flood * 4 * limit)
                wire.read()
        wire.drained(5.0)
        assert beside.ask(ECHO, b"x") == b"x"
    assert door2.server.counts.refused == 1


def test_pings_between_calls_are_no_flood(door2: Served) -> None:
    """The limit's negative: a client that pings and opens windows around each call is not ended."""
    with door2.wire() as wire:
        for number in range(3000):
            wire.send(PING + frames.window_update(0, 1) + PING)
            assert wire.ask(ECHO, b"%d" % number) == b"%d" % number
        assert wire.pongs == 6000


def test_an_endless_block_is_ended(door2: Served) -> None:
    """CONTINUATION after CONTINUATION: by number and by size."""
    for piece in (b"\x86", bytes(8000)):
        with door2.wire() as wire:
            wire.send(frames.frame(frames.HEADERS, 0, 1, b"\x83"))
            wire.send(frames.frame(frames.CONTINUATION, 0, 1, piece) * 40)
            assert wire.drained(5.0)
            assert wire.goaways[-1][1] == Code.ENHANCE_YOUR_CALM


def test_settings_are_acknowledged_and_obeyed(door2: Served) -> None:
    """Each SETTINGS has its acknowledgement."""
    with door2.wire() as wire:
        wire.send(frames.settings({Setting.MAX_FRAME_SIZE: 30_000}) * 2 + call(1, ECHO, bytes(20_000)))
        assert len(wire.wait(1).message) == 20_000
        acknowledged = [one for one in wire.frames if one.kind == frames.SETTINGS and one.flags & frames.ACK]
        assert len(acknowledged) == 3
        assert max(len(one.payload) for one in wire.frames if one.kind == frames.DATA) == 20_005
