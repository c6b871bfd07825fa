"""Calls of many messages: each is answered in its turn, and what a client may cost stays bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from changeover.gateway.door.http2 import frames, talk
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.door.http2.frames import Code, Setting
from changeover.gateway.door.http2.message import PREFIX, prefix
from tests.gateway.door.http2.served import ECHO, HOLD, TALK, Served, serving
from tests.needed import needed

from grpc_door_wire import Answer, Wire, begin, call, data  # isort: skip

KIB = 1024
WIDE = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 24}) + frames.window_update(0, 1 << 24)


def framed(*messages: bytes) -> bytes:
    """Messages as they stand in a call's data."""
    return b"".join(prefix(len(message)) + message for message in messages)


def messages(answer: Answer) -> list[bytes]:
    """The whole messages that have come of an answer."""
    found, at, raw = [], 0, bytes(answer.data)
    while len(raw) - at >= PREFIX and len(raw) - at >= PREFIX + int.from_bytes(raw[at + 1 : at + PREFIX], "big"):
        size = int.from_bytes(raw[at + 1 : at + PREFIX], "big")
        found.append(raw[at + PREFIX : at + PREFIX + size])
        at += PREFIX + size
    return found


def hear(wire: Wire, count: int, stream: int = 1) -> list[bytes]:
    """Read until so many messages have come."""
    while len(found := messages(wire.answers.setdefault(stream, Answer()))) < count:
        wire.read()
    return found


@pytest.mark.parametrize("step", [1, 2, 5, 7, 100])
def test_every_message_is_answered_however_they_are_cut(door2: Served, step: int) -> None:
    """In data frames of any size, an empty message too; the half-close ends the call after the last answer."""
    said = [b"one", b"", b"three", b"x" * 50]
    raw = framed(*said)
    with door2.wire() as wire:
        wire.send(begin(1, TALK))
        for at in range(0, len(raw), step):
            wire.send(data(1, raw[at : at + step], end=at + step >= len(raw)))
        answer = wire.wait(1)
        assert (messages(answer), answer.status) == (said, Status.OK)
        assert answer.fields[b":status"] == b"200"


def test_a_talk_goes_both_ways(door2: Served) -> None:
    """The next message may depend on the last answer; an empty frame at the end is the half-close."""
    with door2.wire() as wire:
        wire.send(begin(1, TALK))
        for number in range(1, 20):
            wire.send(data(1, framed(b"%d" % number), end=False))
            assert hear(wire, number)[-1] == b"%d" % number
        wire.send(data(1, b""))
        assert wire.wait(1).status == Status.OK


def test_a_talk_without_a_message_is_over_at_once(door2: Served) -> None:
    """Head and end in one, whether the client ended with its head or after it."""
    with door2.wire() as wire:
        head = begin(1, TALK)
        wire.send(head[:4] + bytes((head[4] | frames.END_STREAM,)) + head[5:])
        wire.send(begin(3, TALK) + data(3, b""))
        assert [wire.wait(number).status for number in (1, 3)] == [Status.OK, Status.OK]
    assert door2.app.seen == []


def test_answers_keep_the_order_of_the_messages(door2: Served) -> None:
    """An answer that is there early waits for those before it."""
    with door2.wire() as wire:
        wire.send(begin(1, TALK) + data(1, framed(b"Hold:a", b"b", b"Hold:c", b"d")))
        door2.until(lambda: len(door2.app.seen) == 4)
        first, third = door2.app.held
        assert messages(wire.answers.get(1, Answer())) == []
        door2.call(lambda: third.respond((b"c",)))
        door2.call(lambda: first.respond((memoryview(b"a"),)))
        assert messages(wire.wait(1)) == [b"a", b"b", b"c", b"d"]
        assert door2.server.in_flight == 0


@pytest.mark.parametrize("before", [0, 2])
def test_an_error_ends_the_talk_in_its_turn(door2: Served, before: int) -> None:
    """Those before it are answered, those after it are told that nobody waits."""
    with door2.wire() as wire:
        wire.send(begin(1, TALK) + data(1, framed(*[b"x"] * before, b"Fail:", b"Hold:never"), end=False))
        answer = wire.wait(1)
        assert (messages(answer), answer.status) == ([b"x"] * before, Status.NOT_FOUND)
        assert answer.fields[b"reason"] == b"gone"
        assert [one.kind for one in wire.frames if one.stream == 1].count(frames.HEADERS) == (2 if before else 1)
        door2.until(lambda: door2.server.in_flight == 0)


@pytest.mark.parametrize(
    ("raw", "end", "status", "reason"),
    [
        (framed(b"x") + b"\1\0\0\0\1z", False, Status.INTERNAL, b"compressed_message"),
        (framed(b"x") + b"\0\0\0\7\1", False, Status.RESOURCE_EXHAUSTED, b"too_large"),
        (framed(b"x") + b"\0\0\0\0\5cut", True, Status.INTERNAL, b"truncated_message"),
        (framed(b"x") + b"\0\0", True, Status.INTERNAL, b"truncated_message"),
    ],
)
def test_bad_messages_end_the_talk(raw: bytes, end: bool, status: Status, reason: bytes) -> None:
    """After the answers to the good ones; the connection goes on."""
    with serving(body_bytes=1000) as door2, door2.wire() as wire:
        wire.send(begin(1, TALK) + data(1, raw, end=end))
        answer = wire.wait(1)
        assert (messages(answer), answer.status, answer.fields[b"changeover-reason"]) == ([b"x"], status, reason)
        wire.send(call(3, ECHO, b"y"))
        assert wire.wait(3).message == b"y"


def test_a_cancelled_talk_is_told_once_for_each_message(door2: Served) -> None:
    """Nothing of it is left, and answers that come too late go nowhere."""
    with door2.wire() as wire:
        wire.send(begin(1, TALK) + data(1, framed(b"Hold:a", b"b", b"Hold:c"), end=False))
        door2.until(lambda: len(door2.app.seen) == 3)
        wire.send(frames.reset(1, Code.CANCEL))
        door2.until(lambda: len(door2.app.abandoned) == 2)
        door2.call(lambda: [held.respond((b"late",)) for held in door2.app.held])
        wire.send(call(3, ECHO, b"y"))
        assert wire.wait(3).message == b"y"
        assert (door2.server.in_flight, door2.server.counts.abandoned) == (0, 2)


def test_a_talk_has_only_so_many_messages_in_hand(door2: Served) -> None:
    """The others stay in its window until there is room, and keep the connection's shut by what they are."""
    most, extra = talk.MOST_ASKED, 40
    with door2.wire() as wire:
        wire.send(begin(1, TALK) + data(1, framed(*[b"Hold:%d" % n for n in range(most + extra)])))
        door2.until(lambda: len(door2.app.held) == most)
        wire.send(call(3, ECHO, b"y"))
        assert wire.wait(3).message == b"y"
        assert len(door2.app.held) == most
        for number in range(most + extra):
            door2.until(lambda n=number: len(door2.app.held) > n)  # type: ignore[misc]
            door2.call(lambda n=number: door2.app.held[n].respond((b"%d" % n,)))
        assert messages(wire.wait(1)) == [b"%d" % n for n in range(most + extra)]


def test_who_does_not_read_is_not_asked_for_more() -> None:
    """While an answer does not go out no further message is taken; when it does all come."""
    said = [b"Large:%d" % (100 * KIB)] * 20
    with serving() as door2, door2.wire() as wire:
        wire.reopens = False
        wire.send(begin(1, TALK) + data(1, framed(*said)))
        door2.until(lambda: len(door2.app.seen) == 1)
        wire.send(call(3, ECHO, b""))
        door2.until(lambda: len(door2.app.seen) == 2)  # its answer is behind the windows too
        assert door2.server.budget_used < 150 * KIB
        wire.reopens = True
        wire.send(frames.window_update(0, 1 << 20) + frames.window_update(1, 1 << 20))
        answer = wire.wait(1)
        assert ([len(one) for one in messages(answer)], answer.status) == ([100 * KIB] * 20, Status.OK)


def test_talks_behind_unread_answers_wait_for_them() -> None:
    """As calls do: beyond 32 MiB of unsent answers a connection's messages wait, and go on when those were read."""
    shut = frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 0})
    with serving(wait_seconds=60.0) as door2, door2.wire(opening=shut) as wire:
        for stream in (1, 3):
            wire.send(begin(stream, TALK) + data(stream, framed(b"Large:17000000")))
        for stream in range(5, 45, 2):
            wire.send(begin(stream, TALK) + data(stream, framed(b"a", b"", b"c")))
        wire.send(begin(45, TALK) + data(45, framed(b"z"), end=False))
        door2.until(lambda: door2.server.counts.requests == 2)
        wire.send(frames.reset(1, 8) + frames.settings({Setting.INITIAL_WINDOW_SIZE: 1000}))
        for stream in range(5, 45, 2):
            assert messages(wire.wait(stream)) == [b"a", b"", b"c"]
        assert hear(wire, 1, 45) == [b"z"]
        wire.send(frames.reset(3, 8) + frames.reset(45, 8))
        door2.until(lambda: door2.server.budget_used == 0)


@pytest.mark.parametrize("room", [False, True])
def test_a_message_waits_for_the_budget(room: bool) -> None:
    """Those after it wait too; without room in time the talk is shed with a code that is tried again."""
    large = b"x" * (300 * KIB)
    limits = {"gateway_bytes": 500 * KIB, "wait_seconds": 60.0 if room else 0.5}
    with serving(**limits) as door2, door2.wire(opening=WIDE) as holder, door2.wire(opening=WIDE) as wire:
        holder.send(begin(1, HOLD) + data(1, (prefix(len(large)) + large)[: 60 * KIB], end=False))
        door2.until(lambda: door2.server.budget_used >= 300 * KIB)
        wire.send(begin(1, TALK) + data(1, framed(b"first") + prefix(len(large)), end=False))
        assert hear(wire, 1) == [b"first"]
        if not room:
            answer = wire.wait(1)
            assert (answer.status, answer.fields[b"changeover-reason"]) == (Status.UNAVAILABLE, b"overloaded")
            return
        before = wire.updates
        holder.send(frames.reset(1, Code.CANCEL))
        while wire.updates == before:
            wire.read()
        wire.send(data(1, large + framed(b"last")))
        assert messages(wire.wait(1)) == [b"first", large, b"last"]


def test_a_leaving_connection_ends_talks_after_their_answers(door2: Served) -> None:
    """A silent one at once, one with messages in hand after them: UNAVAILABLE, so that the client begins again."""
    with door2.wire() as wire:
        wire.send(begin(1, TALK) + data(1, framed(b"x"), end=False))
        wire.send(begin(3, TALK) + data(3, framed(b"Hold:y"), end=False))
        door2.until(lambda: len(door2.app.held) == 1)
        assert hear(wire, 1) == [b"x"]
        door2.call(door2.server.lame_duck)
        assert wire.wait(1).status == Status.UNAVAILABLE
        assert 3 not in wire.answers
        door2.call(lambda: door2.app.held[0].respond((b"y",)))
        answer = wire.wait(3)
        assert (messages(answer), answer.status) == ([b"y"], Status.UNAVAILABLE)
        assert wire.drained(8.0)


def test_who_has_said_all_is_answered_by_a_connection_that_leaves(door2: Served) -> None:
    """All messages were there before: those that had no room yet too."""
    count = talk.MOST_ASKED + 6
    with door2.wire() as wire:
        wire.send(begin(1, TALK) + data(1, framed(*[b"Hold:%d" % n for n in range(count)])))
        door2.until(lambda: len(door2.app.held) == talk.MOST_ASKED)
        door2.call(door2.server.lame_duck)
        for number in range(count):
            door2.until(lambda n=number: len(door2.app.held) > n)  # type: ignore[misc]
            door2.call(lambda n=number: door2.app.held[n].respond((b"%d" % n,)))
        answer = wire.wait(1)
        assert (messages(answer), answer.status) == ([b"%d" % n for n in range(count)], Status.OK)
        assert wire.drained(8.0)


def test_each_message_has_what_is_left_of_the_calls_time(door2: Served) -> None:
    """The deadline is the whole talk's."""
    with door2.wire() as wire:
        wire.send(begin(1, TALK, (b"grpc-timeout", b"10S")))
        for number in (1, 2):
            wire.send(data(1, framed(b"x"), end=False))
            hear(wire, number)
        first, second = door2.app.seen
        ends = [one.received + (one.timeout or 0.0) for one in (first, second)]
        assert first.received < second.received
        assert ends[0] == pytest.approx(ends[1], abs=1e-6)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A door whose talks may be silent for a moment only."""
    monkeypatch.setattr(talk, "SILENT_SECONDS", 0.3)
    with serving() as door2:
        yield door2


def test_a_silent_talk_ends(impatient: Served) -> None:
    """One whose message is with the application is not silent."""
    with impatient.wire() as wire:
        wire.send(begin(1, TALK) + begin(3, TALK) + data(3, framed(b"Hold:y"), end=False))
        answer = wire.wait(1)
        assert (answer.status, answer.fields[b"changeover-reason"]) == (Status.DEADLINE_EXCEEDED, b"timeout")
        impatient.call(lambda: impatient.app.held[0].respond((b"y",)))
        assert messages(wire.wait(3)) == [b"y"]


def test_grpcio_talks_at_length(door2: Served) -> None:
    """Twenty megabytes through windows of 64 KiB, small and large messages mixed, several talks at once."""
    grpc = needed("grpc")
    sizes = [0, 1, 1000, 70_000, 300_000, 5] * 30
    with grpc.insecure_channel(f"127.0.0.1:{door2.port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        said = [[bytes((turn,)) * size for size in sizes] for turn in range(2)]
        talks = [channel.stream_stream(TALK)(iter(turn), timeout=60) for turn in said]
        for turn, answers in zip(said, talks, strict=True):
            assert list(answers) == turn
