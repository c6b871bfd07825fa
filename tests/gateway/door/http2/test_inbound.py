"""The frames of calls, right and wrong."""

from __future__ import annotations

import pytest

from changeover.gateway.door.http2 import frames, turns
from changeover.gateway.door.http2.connection import Http2Door
from changeover.gateway.door.http2.frames import Code
from changeover.gateway.door.http2.hpack import encode
from changeover.gateway.door.http2.message import prefix
from changeover.gateway.door.http2.stream import Stream
from tests.gateway.door.http2.served import ECHO, HOLD, Served, Wire, serving

from grpc_door_hostile import broken_rules  # isort: skip
from grpc_door_wire import OPENING, begin, call, data, head  # isort: skip


@pytest.mark.parametrize(("what", "raw"), list(broken_rules()), ids=[what for what, _ in broken_rules()])
def test_broken_rules_end_their_connection_alone(door2: Served, what: str, raw: bytes) -> None:
    """With GOAWAY and its code; another connection does not notice."""
    with door2.wire() as beside, door2.wire(opening=raw) as wire:
        assert wire.drained(5.0), what
        assert wire.goaways
        assert wire.goaways[-1][1] != Code.NO_ERROR
        assert beside.ask(ECHO, b"x") == b"x"


def test_a_block_in_pieces(door2: Served) -> None:
    """HEADERS with padding and priority, continued twice, are one call."""
    block = head(ECHO)
    first = b"\x03" + bytes(5) + block[:9] + bytes(3)
    raw = frames.frame(frames.HEADERS, frames.PADDED | frames.PRIORITISED, 1, first)
    raw += frames.frame(frames.CONTINUATION, 0, 1, block[9:20])
    raw += frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[20:]) + data(1, prefix(1) + b"x")
    with door2.wire() as wire:
        wire.send(raw)
        assert wire.wait(1).message == b"x"


def test_trailers_of_a_client_end_its_message(door2: Served) -> None:
    """HEADERS behind the data stand for its end; without END_STREAM they are against the rules."""
    trailers = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, encode([(b"x", b"y")]))
    wrong = frames.frame(frames.HEADERS, frames.END_HEADERS, 3, encode([(b"x", b"y")]))
    with door2.wire() as wire:
        wire.send(begin(1, ECHO) + data(1, prefix(2) + b"ab", end=False) + trailers)
        assert wire.wait(1).message == b"ab"
        wire.send(begin(3, ECHO) + data(3, prefix(2) + b"a", end=False) + wrong)
        assert wire.wait(3).reset == Code.PROTOCOL_ERROR


def test_malformed_fields_end_their_stream_alone(door2: Served) -> None:
    """The table of the compression goes on."""
    with door2.wire() as wire:
        bad = encode([(b":method", b"POST"), (b"Upper", b"x")]) + b"\x40\x01t\x01v"
        wire.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, bad))
        assert wire.wait(1).reset == Code.PROTOCOL_ERROR
        wire.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 3, head(ECHO) + b"\xbe") + data(3, prefix(0)))
        assert wire.wait(3).status == 0
        assert door2.app.seen[0].headers[b"t"] == b"v"


@pytest.mark.parametrize("fields", [[(b":method", b"GET")], [(b"content-type", b"text/html")]])
def test_what_is_no_grpc_is_turned_away(door2: Served, fields: list[tuple[bytes, bytes]]) -> None:
    """415, as gRPC's protocol asks for; the client may stop sending."""
    usual = dict([(b":method", b"POST"), (b":scheme", b"http"), (b":path", ECHO.encode()), *fields])
    with door2.wire() as wire:
        wire.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, encode(list(usual.items()))))
        assert wire.wait(1).fields[b":status"] == b"415"
        wire.send(data(1, b"late") + call(3, ECHO, b"x"))
        assert wire.wait(3).message == b"x"


def test_more_calls_at_once_than_allowed(door2: Served) -> None:
    """The one over the limit is refused in a way that the client may send it again."""
    with door2.wire() as wire:
        wire.send(b"".join(call(stream, HOLD, b"x") for stream in range(1, 2003, 2)))
        assert wire.wait(2001).reset == Code.REFUSED_STREAM
        assert len(door2.app.held) == 1000
        door2.call(lambda: [held.respond((b"y",)) for held in door2.app.held])
        assert all(wire.wait(stream).message == b"y" for stream in range(1, 2001, 2))


def test_fields_that_are_small_on_the_way_and_large_in_memory(door2: Served) -> None:
    """A mebibyte of them at once on a connection, charged to the budget; the call over it may be sent again."""
    large = encode([(b"x", b"y" * 2000)])
    entry = b"\x40" + large[1:]  # the same, into the table
    block = head(HOLD) + b"\xbe" * 7
    with door2.wire() as wire:
        first = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, head(ECHO) + entry)
        wire.send(first + data(1, prefix(0)))
        assert wire.wait(1).status == 0
        raw = [
            frames.frame(frames.HEADERS, frames.END_HEADERS, s, block) + data(s, prefix(0)) for s in range(3, 203, 2)
        ]
        wire.send(b"".join(raw))
        assert wire.wait(201).reset == Code.REFUSED_STREAM
        assert 60 < len(door2.app.held) < 75
        assert (1 << 20) - 16_384 < door2.server.budget_used <= 1 << 20
        door2.call(lambda: [held.respond((b"y",)) for held in door2.app.held])
        assert wire.wait(3).message == b"y"
        door2.until(lambda: door2.server.budget_used == 0)
        wire.send(call(203, ECHO, b"again"))
        assert wire.wait(203).message == b"again"


def test_many_calls_with_usual_fields_are_not_refused(door2: Served) -> None:
    """The limit's negative: 900 calls with a token of 1,200 bytes each."""
    with door2.wire() as wire:
        streams = range(1, 1801, 2)
        token = (b"authorization", b"t" * 1200)
        wire.send(b"".join(begin(s, HOLD, token, (b"n", b"%d" % s)) + data(s, prefix(0)) for s in streams))
        door2.until(lambda: len(door2.app.held) == 900)
        assert door2.server.budget_used == 0
        door2.call(lambda: [held.respond((b"y",)) for held in door2.app.held])
        assert all(wire.wait(s).message == b"y" for s in streams)


def test_a_cancelled_call(door2: Served) -> None:
    """The application is told once; frames of the stream that were on their way are harmless."""
    with door2.wire() as wire:
        wire.send(call(1, HOLD, b"x"))
        door2.until(lambda: len(door2.app.held) == 1)
        wire.send(frames.reset(1, Code.CANCEL) * 2 + frames.window_update(1, 5) + data(1, b"late"))
        wire.send(call(3, ECHO, b"x"))
        assert wire.wait(3).message == b"x"
        assert door2.app.abandoned == [HOLD]


def test_data_behind_the_end_of_a_stream(door2: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """STREAM_CLOSED, and the call is cancelled."""
    monkeypatch.setattr(turns, "_TURN_SECONDS", 60.0)  # which a busy machine does not end between two frames
    with door2.wire() as wire:
        wire.send(call(1, HOLD, b"x"))
        door2.until(lambda: len(door2.app.held) == 1)
        wire.send(data(1, b"more") + call(3, HOLD, b"x") + data(3, b"more"))
        assert [wire.wait(number).reset for number in (1, 3)] == [Code.STREAM_CLOSED] * 2
        assert door2.app.abandoned == [HOLD]
        assert len(door2.app.held) == 1, "the second one had not been handed over"


def test_windows_that_the_protocol_does_not_have(door2: Served) -> None:
    """Of a stream: nothing, and over 2^31-1; each ends that stream."""
    with door2.wire() as wire:
        wire.send(call(1, HOLD, b"x") + frames.window_update(1, 0))
        assert wire.wait(1).reset == Code.PROTOCOL_ERROR
        wire.send(call(3, HOLD, b"x") + frames.window_update(3, frames.MAX_WINDOW))
        assert wire.wait(3).reset == Code.FLOW_CONTROL_ERROR


def test_data_over_the_window_of_a_stream() -> None:
    """While its message waits for the budget, a call has its first window and not a byte more."""
    with serving(gateway_bytes=1 << 20, wait_seconds=60.0) as door2, door2.wire(opening=OPENING) as wire:
        wire.send(begin(1, ECHO) + data(1, prefix(600_000) + bytes(100), end=False))
        door2.until(lambda: door2.server.budget_used == 600_000)
        wire.send(begin(3, ECHO) + data(3, prefix(700_000) + bytes(65_530), end=False))
        wire.send(data(3, b"x", end=False))
        assert wire.wait(3).reset == Code.FLOW_CONTROL_ERROR


def hold_nine(door2: Served, wire: Wire) -> list[Stream]:
    """Nine messages that wait for the budget: most of the connection's window; returns their streams."""
    wire.send(begin(1, ECHO) + data(1, prefix(600_000) + bytes(100), end=False))
    door2.until(lambda: door2.server.budget_used == 600_000)
    for number in range(3, 21, 2):
        wire.send(begin(number, ECHO) + data(number, prefix(700_000) + bytes(65_530), end=False))
    (door,) = door2.server._gate.connections
    assert isinstance(door, Http2Door)
    streams = door._streams
    door2.until(lambda: sum(stream.held for stream in list(streams.open.values())) == 9 * 65_535)
    return list(streams.open.values())


def opened(wire: Wire) -> int:
    """How often the connection's window was opened; once at its begin."""
    return sum(one.kind == frames.WINDOW_UPDATE and one.stream == 0 for one in wire.frames)


def test_held_messages_do_not_shut_the_connection_s_window() -> None:
    """What is left of it is opened again and again."""
    with serving(gateway_bytes=1 << 20, wait_seconds=60.0, body_seconds=60.0) as door2, door2.wire() as wire:
        hold_nine(door2, wire)
        for number in range(21, 77, 2):
            wire.send(call(number, ECHO, bytes(16_000)))
            assert len(wire.wait(number).message) == 16_000
        assert opened(wire) > 1


def test_the_window_of_messages_that_are_given_up_is_opened() -> None:
    """Although the client says nothing more, and perhaps cannot."""
    with serving(gateway_bytes=1 << 20, wait_seconds=60.0, body_seconds=60.0) as door2, door2.wire() as wire:
        held = hold_nine(door2, wire)
        for stream in held[1:]:
            stream.due = 0.0
        assert [wire.wait(number).status for number in range(3, 21, 2)] == [14] * 9
        while opened(wire) == 1:
            wire.read()
        assert door2.server.counts.shed == 9


def test_the_connection_s_window_is_opened_again(door2: Served) -> None:
    """More than a window of data over many calls: credit comes back, also for padding and for closed streams."""
    with door2.wire() as wire:
        for stream in range(1, 101, 2):
            part = b"\xff" + prefix(9000) + bytes(9000) + bytes(255)
            wire.send(begin(stream, ECHO))
            wire.send(frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, stream, part))
            wire.send(data(1, bytes(16_000), end=False) if stream > 1 else b"")
            assert len(wire.wait(stream).message) == 9000
        assert wire.updates > 2
