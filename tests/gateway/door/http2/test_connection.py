"""One connection on a real socket: its life, and what ends it."""

from __future__ import annotations

import time

import pytest

from changeover.gateway.door.http2 import frames
from changeover.gateway.door.http2.connection import Http2Door
from changeover.gateway.door.http2.frames import Code
from tests.gateway.door.http2.served import ECHO, HOLD, LARGE, Served, Wire, serving

from grpc_door_wire import begin, call, data  # isort: skip

WIDE = frames.PREFACE + frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: frames.MAX_WINDOW})
WIDE += frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)


def only(door2: Served) -> Http2Door:
    """The one connection."""
    (door,) = door2.server._gate.connections
    assert isinstance(door, Http2Door)
    return door


def test_calls_one_after_the_other(door2: Served) -> None:
    """A connection is good for as many calls as a client likes, zttp's 4,096 included."""
    with door2.wire() as wire:
        for number in range(5000):
            assert wire.ask(ECHO, b"%d" % number) == b"%d" % number
    assert door2.server.counts.requests == 5000


def test_a_new_connection_is_told_the_rules(door2: Served) -> None:
    """SETTINGS come first, then the connection's window, then the acknowledgement of the client's."""
    with door2.wire() as wire:
        while len(wire.frames) < 3:
            wire.read()
        assert [one.kind for one in wire.frames[:2]] == [frames.SETTINGS, frames.WINDOW_UPDATE]
        assert dict(frames.pairs(wire.frames[0].payload)) == {3: 1000, 6: 16_384}
        assert wire.frames[2].flags == frames.ACK


def test_a_graceful_end_loses_no_call(door2: Served) -> None:
    """First GOAWAY: calls are still taken; after the ping's answer the line; those before it are answered."""
    with door2.wire() as wire:
        wire.send(call(1, HOLD, b"a"))
        door2.until(lambda: len(door2.app.held) == 1)
        door = next(iter(door2.server._gate.connections))
        wire.send(call(3, HOLD, b"b"))
        door2.until(lambda: len(door2.app.held) == 2)
        door2.call(door.leave)
        while len(wire.goaways) < 2:
            wire.read()
        assert wire.goaways == [(frames.MAX_STREAM, Code.NO_ERROR), (3, Code.NO_ERROR)]
        wire.send(call(5, ECHO, b"too late"))
        for held in door2.app.held:
            door2.call(lambda held=held: held.respond((b"in time",)))
        assert wire.wait(1).message == wire.wait(3).message == b"in time"
        assert wire.drained(5.0)
        assert 5 not in wire.answers
    assert len(door2.app.seen) == 2


def test_the_line_is_drawn_for_a_client_that_answers_no_ping() -> None:
    """A second after the first GOAWAY the second one is sent whatever the client does."""
    with serving() as door2, door2.wire() as wire:
        wire.ask(ECHO, b"x")
        wire._take = wire.frames.append  # type: ignore[method-assign]
        door2.call(next(iter(door2.server._gate.connections)).leave)
        assert wire.drained(8.0)
        assert sum(frame.kind == frames.GOAWAY for frame in wire.frames) == 2


def test_an_idle_connection_is_left_gracefully() -> None:
    """After the idle time, with GOAWAY."""
    with serving(idle_seconds=1.0) as door2, door2.wire() as wire:
        wire.ask(ECHO, b"x")
        assert wire.drained(8.0)
        assert wire.goaways[-1] == (1, Code.NO_ERROR)


def test_a_client_that_never_speaks_is_ended() -> None:
    """Preface and SETTINGS have the time of a head."""
    with serving(header_seconds=0.3) as door2, Wire(door2.port, opening=b"PRI * HT") as wire:
        assert wire.drained(8.0)
        assert door2.server.counts.expired == 1


def test_a_client_that_goes_away_cancels_its_calls(door2: Served) -> None:
    """The application hears of each call once, and a late answer does nothing."""
    with door2.wire() as wire:
        wire.send(call(1, HOLD, b"a") + call(3, HOLD, b"b"))
        door2.until(lambda: len(door2.app.held) == 2)
        assert door2.server.in_flight == 2
    door2.until(lambda: door2.app.abandoned == [HOLD, HOLD])
    door2.call(lambda: door2.app.held[0].respond((b"nobody",)))
    assert not door2.app.held[0].open
    assert door2.server.counts.abandoned == 2


def test_many_cancelled_calls_bring_another_connection(door2: Served) -> None:
    """After its share of resets a connection is left gracefully; a call in progress is answered."""
    with door2.wire() as wire:
        wire.send(call(1, HOLD, b"stays"))
        for first in range(3, 6003, 1000):
            streams = range(first, first + 1000, 2)
            wire.send(b"".join(call(s, HOLD, b"x") for s in streams))
            wire.send(b"".join(frames.reset(s, Code.CANCEL) for s in streams))
        while not wire.goaways:
            wire.read()
        door2.until(lambda: len(door2.app.abandoned) >= 1000)
        door2.call(lambda: door2.app.held[0].respond((b"answered",)))
        assert wire.wait(1).message == b"answered"
        assert {code for _, code in wire.goaways} == {Code.NO_ERROR}


def test_a_message_that_does_not_come_is_given_up() -> None:
    """Its call gets DEADLINE_EXCEEDED, another one on the connection goes on."""
    with serving(body_seconds=0.2) as door2, door2.wire() as wire:
        wire.send(begin(1, ECHO) + data(1, b"\0\0\0\x10\0only a part", end=False))
        assert wire.wait(1).status == 4
        assert wire.answers[1].fields[b"changeover-reason"] == b"timeout"
        wire.send(call(3, ECHO, b"beside"))
        assert wire.wait(3).message == b"beside"


@pytest.mark.parametrize("reads", [True, False])
def test_an_answer_nobody_takes_is_given_up(reads: bool) -> None:
    """With its window shut the stream is reset; without reading at all the connection is ended."""
    shut = frames.PREFACE + frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 0 if reads else frames.MAX_WINDOW})
    shut += frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)
    with (
        serving(write_seconds=0.3, byte_rate=1 << 40) as door2,
        door2.wire(opening=shut, receive_buffer=4096) as wire,
    ):
        wire.reopens = False
        wire.send(call(1, "/echo.Echo/Large", b"8000000"))
        if reads:
            assert wire.wait(1).reset == Code.CANCEL
        server = door2.server
        door2.until(lambda: server.budget_used == 0 and server.counts.expired >= 1 and server.connections == int(reads))
        assert server.counts.requests == 1


def test_the_gateway_leaves(door2: Served) -> None:
    """Lame duck: calls in progress are answered, a new connection has its first call, then all are ended."""
    with door2.wire() as old, door2.wire() as new:
        old.send(call(1, HOLD, b"a"))
        door2.until(lambda: len(door2.app.held) == 1)
        door2.call(door2.server.lame_duck)
        assert new.ask(ECHO, b"first") == b"first"
        assert new.drained(5.0)
        door2.call(lambda: door2.app.held[0].respond((b"answered",)))
        assert old.wait(1).message == b"answered"
        assert old.drained(5.0)
        door2.until(lambda: door2.server.connections == 0)


def test_stopping_waits_for_calls_and_cuts_at_the_deadline() -> None:
    """What is not answered at the deadline is counted and told to the application."""
    with serving() as door2, door2.wire() as wire:
        wire.send(call(1, HOLD, b"a"))
        door2.until(lambda: len(door2.app.held) == 1)
        began = time.monotonic()
        cut = door2.begin(door2.server.stop(0.5, last=False, duck_seconds=0.1)).result(10)
        assert cut == 1
        assert time.monotonic() - began >= 0.5
        door2.until(lambda: door2.app.abandoned == [HOLD])


def test_a_slow_reader_s_answer_outlives_the_leaving() -> None:
    """A client that needs longer than the second of a leave to read has its whole answer."""
    with serving() as door2, door2.wire(opening=WIDE, receive_buffer=4096) as wire:
        wire.reopens = False
        wire.send(call(1, LARGE, b"16000000"))
        door2.until(lambda: len(door2.app.seen) == 1 and only(door2)._out.stuck)
        gate, out = door2.server._gate, only(door2)._out
        door2.until(lambda: door2.call(lambda: out.stuck and gate.budget.used > out.unsent), "the charge")
        left = gate.now
        door2.call(only(door2).leave)
        door2.until(lambda: gate.now > left + 2.0 or door2.server.connections == 0)
        assert len(wire.wait(1).message) == 16_000_000
        assert wire.drained(8.0)
        assert len(wire.goaways) == 2


def line_drawn(wire: Wire) -> None:
    """Wait for the second GOAWAY."""
    while len(wire.goaways) < 2:
        wire.read()


def test_a_last_message_that_does_not_come_does_not_keep_a_connection_that_leaves() -> None:
    """When its call is given up nothing is left, and nobody needs to say anything more."""
    with serving(body_seconds=60.0) as door2, door2.wire() as wire:
        wire.send(begin(1, ECHO) + data(1, b"\0\0\0\x10\0only a part", end=False))
        door2.until(lambda: door2.server.budget_used == 4096)
        door2.call(only(door2).leave)
        line_drawn(wire)
        only(door2)._streams.open[1].began = only(door2)._streams.open[1].due = 0.0
        assert wire.wait(1).status == 4
        assert wire.drained(5.0)
        door2.until(lambda: door2.server.connections == 0)


def test_a_last_large_answer_does_not_keep_a_connection_that_leaves(door2: Served) -> None:
    """One that is too large for one frame, and that windows and transport take at once."""
    with door2.wire(opening=WIDE) as wire:
        wire.reopens = False
        wire.send(call(1, HOLD, b"x"))
        door2.until(lambda: len(door2.app.held) == 1)
        door2.call(only(door2).leave)
        line_drawn(wire)
        door2.call(lambda: door2.app.held[0].respond((bytes(100_000),)))
        assert len(wire.wait(1).message) == 100_000
        assert wire.drained(5.0)
        door2.until(lambda: door2.server.connections == 0)


def test_pings_do_not_keep_an_idle_connection() -> None:
    """Only calls do."""
    with serving(idle_seconds=1.0) as door2, door2.wire() as wire:
        wire.ask(ECHO, b"x")
        until = time.monotonic() + 8.0
        while not wire.goaways and time.monotonic() < until:
            wire.send(frames.frame(frames.PING, 0, 0, bytes(8)))
            wire.drained(0.1)
        assert wire.goaways[:1] == [(frames.MAX_STREAM, Code.NO_ERROR)]


PARTS = [bytes(5), begin(3, ECHO)[:20], frames.frame(frames.HEADERS, 0, 3, b"\x83")]


@pytest.mark.parametrize("part", PARTS, ids=["top", "frame", "block"])
def test_a_frame_that_is_only_begun_is_given_up(part: bytes) -> None:
    """As a block of fields, in the time of a head, which nothing renews."""
    with serving(header_seconds=0.5) as door2, door2.wire() as wire:
        wire.ask(ECHO, b"x")
        wire.send(part)
        assert wire.drained(8.0)
        assert wire.goaways == [(1, Code.NO_ERROR)]
        assert door2.server.counts.expired == 1


def test_a_frame_that_is_only_begun_does_not_end_a_call() -> None:
    """The limit's negative: while a call is open, its own times count."""
    with serving(header_seconds=0.5) as door2, door2.wire() as wire:
        wire.send(call(1, HOLD, b"x") + PARTS[1])
        door2.until(lambda: len(door2.app.held) == 1)
        gate = door2.server._gate
        began = gate.now
        door2.until(lambda: gate.now > began + 1.5)
        wire.send(begin(3, ECHO)[20:])
        door2.call(lambda: door2.app.held[0].respond((b"in time",)))
        assert wire.wait(1).message == b"in time"
        assert door2.server.counts.expired == 0


def test_calls_that_come_in_uneven_parts_go_on() -> None:
    """Another negative: whenever a call is answered a part of the next one is there already.

    A try in which this process itself stood still says nothing when it goes wrong.
    """
    tries = [uneven_calls()]
    while tries[-1][0] and tries[-1][1] > 0.05 and len(tries) < 20:
        tries.append(uneven_calls())
    assert not tries[-1][0], tries


def uneven_calls() -> tuple[bool, float]:
    """Whether the connection was ended within four times what a head has, and the longest time a call took."""
    with serving(header_seconds=0.5) as door2, door2.wire(opening=WIDE) as wire:
        wire.reopens = False  # it would send between two parts
        number, longest, began = 1, 0.0, time.monotonic()
        until, sent = began + 2.0, began
        wire.send(call(1, ECHO, b"x")[:20])
        while sent < until:
            try:
                wire.send(call(number, ECHO, b"x")[20:] + call(number + 2, ECHO, b"x")[:20])
                assert wire.wait(number).message == b"x"
            except ConnectionError:
                return True, max(longest, time.monotonic() - sent)
            longest, sent = max(longest, time.monotonic() - sent), time.monotonic()
            number += 2
        return door2.server.counts.expired > 0, longest
