"""Messages that the client has packed, through a real door."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest

from changeover.gateway.door.http2 import collector, frames
from changeover.gateway.door.http2 import turns as turns_module
from changeover.gateway.door.http2.fields import Status
from changeover.gateway.door.http2.message import prefix
from changeover.gateway.door.limits import KIB, MIB
from tests.gateway.door.http2.served import ECHO, HOLD, SMALL, TALK, Served, serving

from grpc_door_wire import begin, call, data  # isort: skip

BODY = bytes(range(256)) * 300
GZIP = b"grpc-encoding", b"gzip"


def framed(packed: bytes) -> bytes:
    """A message that says that it is packed."""
    return b"\1" + prefix(len(packed))[1:] + packed


@pytest.mark.parametrize(("coding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_the_application_gets_what_was_packed(door2: Served, coding: bytes, pack: Callable[[bytes], bytes]) -> None:
    """In one frame and cut up; a message of the same call's client that is not packed is taken as it is."""
    raw = framed(pack(BODY))
    with door2.wire() as wire:
        wire.send(begin(1, ECHO, (b"grpc-encoding", coding)) + data(1, raw))
        wire.send(begin(3, ECHO, (b"grpc-encoding", coding)))
        for at in range(0, len(raw), 100):
            wire.send(data(3, raw[at : at + 100], end=at + 100 >= len(raw)))
        wire.send(begin(5, ECHO, (b"grpc-encoding", coding)) + data(5, prefix(5) + b"plain"))
        assert [wire.wait(number).message for number in (1, 3, 5)] == [BODY, BODY, b"plain"]
        assert wire.answers[1].fields[b"grpc-accept-encoding"] == b"identity, deflate, gzip"


@pytest.mark.parametrize(
    ("coding", "raw", "status", "reason"),
    [
        (b"br", framed(b"abc"), Status.UNIMPLEMENTED, b"unknown_content_encoding"),
        (b"identity", framed(b"abc"), Status.INTERNAL, b"compressed_message"),
        (b"gzip", b"\2" + prefix(3)[1:] + b"abc", Status.INTERNAL, b"compressed_message"),
        (b"gzip", framed(b"abc"), Status.INVALID_ARGUMENT, b"malformed_content_encoding"),
        (b"gzip", framed(b""), Status.INVALID_ARGUMENT, b"malformed_content_encoding"),
        (b"gzip", framed(gzip.compress(BODY)[:-1]), Status.INVALID_ARGUMENT, b"malformed_content_encoding"),
        (b"gzip", framed(gzip.compress(bytes(MIB + 1))), Status.RESOURCE_EXHAUSTED, b"too_large"),
    ],
)
@pytest.mark.parametrize("path", [ECHO, TALK])
def test_what_cannot_be_unpacked_is_refused(
    coding: bytes, raw: bytes, status: Status, reason: bytes, path: str
) -> None:
    """With the code that gRPC has for it and what is taken instead; the connection goes on."""
    with serving(body_bytes=MIB) as door2, door2.wire() as wire:
        wire.send(begin(1, path, (b"grpc-encoding", coding)) + data(1, raw))
        answer = wire.wait(1)
        assert (answer.status, answer.fields[b"changeover-reason"]) == (status, reason)
        assert b"gzip" in answer.fields[b"grpc-accept-encoding"]
        wire.send(begin(3, path, GZIP) + data(3, framed(gzip.compress(bytes(MIB)))))
        assert len(wire.wait(3).message) == MIB, "exactly the limit is taken"
        assert len(door2.app.seen) == 1


def test_calls_that_carry_no_data_are_unpacked_to_little(door2: Served) -> None:
    """Such as health, which anybody may ask: a bomb is refused after 4 KiB, and exactly those are taken."""
    with door2.wire() as wire:
        wire.send(begin(1, SMALL, GZIP) + data(1, framed(gzip.compress(bytes(collector.SMALL_UNPACKED + 1)))))
        answer = wire.wait(1)
        assert (answer.status, answer.fields[b"changeover-reason"]) == (Status.RESOURCE_EXHAUSTED, b"too_large")
        wire.send(begin(3, SMALL, GZIP) + data(3, framed(gzip.compress(bytes(collector.SMALL_UNPACKED)))))
        assert wire.wait(3).message == bytes(collector.SMALL_UNPACKED)


def test_the_budget_is_charged_with_what_comes_out() -> None:
    """While the application has it; what the budget has no room for is turned away, and not kept."""
    with serving(gateway_bytes=3 * MIB) as door2, door2.wire() as wire:
        packed = framed(gzip.compress(bytes(2 * MIB)))
        wire.send(begin(1, HOLD, GZIP) + data(1, packed))
        door2.until(lambda: len(door2.app.held) == 1)
        assert door2.server.budget_used == 2 * MIB
        wire.send(begin(3, ECHO, GZIP) + data(3, packed))
        answer = wire.wait(3)
        assert (answer.status, answer.fields[b"changeover-reason"]) == (Status.UNAVAILABLE, b"overloaded")
        door2.until(lambda: door2.server.budget_used == 2 * MIB)
        assert door2.server.counts.shed == 1
        door2.call(lambda: door2.app.held[0].respond((b"x",)))
        wire.wait(1)
        wire.send(begin(5, ECHO, GZIP) + data(5, packed))
        assert len(wire.wait(5).message) == 2 * MIB, "there was room again"


def test_a_packed_message_that_waited_may_be_wrong() -> None:
    """All of it is here when it gets its place: it is refused then, and what it held is given back."""
    with serving(gateway_bytes=MIB, wait_seconds=60.0) as door2, door2.wire() as wire:
        wire.send(begin(1, HOLD) + data(1, prefix(MIB) + bytes(60_000), end=False))
        door2.until(lambda: door2.server.budget_used == MIB)
        wire.send(begin(3, ECHO, GZIP) + data(3, framed(bytes(100 * KIB))[:60_000], end=False))
        wire.send(begin(5, ECHO, GZIP) + data(5, framed(b"x" * (40 * KIB))[:20_000], end=False))
        wire.send(data(5, b"x" * (40 * KIB + 5 - 20_000)) + call(7, ECHO, b""))
        wire.wait(7)
        assert 5 not in wire.answers, "it waits"
        wire.send(frames.reset(1, frames.Code.CANCEL))
        assert wire.wait(5).fields[b"changeover-reason"] == b"malformed_content_encoding"
        wire.send(frames.reset(3, frames.Code.CANCEL))
        door2.until(lambda: door2.server.budget_used == 0)


def test_a_talk_has_packed_messages_and_others(door2: Served) -> None:
    """Each says for itself, and the answers keep their order."""
    with door2.wire() as wire:
        parts = framed(gzip.compress(b"one")), prefix(3) + b"two", framed(gzip.compress(b"three"))
        wire.send(begin(1, TALK, GZIP) + data(1, b"".join(parts)))
        told = bytes(wire.wait(1).data)
        assert told == b"".join(prefix(len(part)) + part for part in (b"one", b"two", b"three"))


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`unpacked` for each piece, and `others` when everybody else has had a turn after it; turns end at once."""
    happened: list[str] = []

    class Watched(collector.Unpacking):
        __slots__ = ()

        def step(self) -> memoryview | None:
            happened.append("unpacked")
            asyncio.get_running_loop().call_soon(happened.append, "others")
            return super().step()

    monkeypatch.setattr(collector, "Unpacking", Watched)
    monkeypatch.setattr(turns_module, "_TURN_SECONDS", 0.0)
    return happened


def test_others_have_their_turn_between_packed_messages(door2: Served, order: list[str]) -> None:
    """Of one talk in one frame, and of several calls in one packet: a few bytes may be much work."""
    with door2.wire() as wire:
        three = b"".join(framed(gzip.compress(bytes(size))) for size in (1, 2, 3))
        wire.send(begin(1, TALK, GZIP) + data(1, three))
        assert bytes(wire.wait(1).data) == b"".join(prefix(size) + bytes(size) for size in (1, 2, 3))
        door2.until(lambda: len(order) == 6)
        assert order == ["unpacked", "others"] * 3
        order.clear()
        wire.send(b"".join(begin(number, ECHO, GZIP) + data(number, framed(gzip.compress(b"x"))) for number in (3, 5)))
        assert [wire.wait(number).message for number in (3, 5)] == [b"x", b"x"]
        door2.until(lambda: len(order) == 4)
        assert order == ["unpacked", "others"] * 2


def test_others_have_their_turn_between_talks_that_go_on(door2: Served, order: list[str]) -> None:
    """Each of many talks has packed messages left for its next turn; they are not all unpacked in one."""
    two = framed(gzip.compress(b"one")) + framed(gzip.compress(b"two"))
    with door2.wire() as wire:
        wire.send(b"".join(begin(number, TALK, GZIP) + data(number, two) for number in (1, 3, 5)))
        for number in (1, 3, 5):
            assert bytes(wire.wait(number).data) == prefix(3) + b"one" + prefix(3) + b"two"
        door2.until(lambda: len(order) == 12)
        assert "".join(word[0] for word in order).count("uuu") == 0, "a frame and a talk that goes on make two at most"


def test_others_have_their_turn_between_the_pieces_of_a_message(order: list[str]) -> None:
    """Of a call and of a talk, whose next message waits for it; a small one is one piece."""
    body = bytes(3 * MIB)
    with serving(body_bytes=4 * MIB, gateway_bytes=64 * MIB) as door2, door2.wire() as wire:
        wire.send(frames.window_update(0, 64 * MIB) + begin(1, ECHO, GZIP) + data(1, framed(gzip.compress(body))))
        wire.send(begin(3, TALK, GZIP) + data(3, framed(gzip.compress(body)) + prefix(3) + b"two"))
        assert wire.wait(1).message == body
        assert bytes(wire.wait(3).data) == prefix(len(body)) + body + prefix(3) + b"two"
        assert order.count("unpacked") == 8
        assert "uuu" not in "".join(word[0] for word in order), "a frame and a message that goes on make two at most"
        door2.until(lambda: door2.server.budget_used == 0)


def test_a_call_that_is_cancelled_is_not_unpacked_to_its_end(order: list[str]) -> None:
    """What it held is given back at once, and the application never gets it."""
    packed = framed(gzip.compress(bytes(16 * MIB)))
    with serving(body_bytes=16 * MIB, gateway_bytes=64 * MIB) as door2, door2.wire() as wire:
        wire.send(begin(1, ECHO, GZIP) + data(1, packed) + frames.reset(1, frames.Code.CANCEL) + call(3, ECHO, b"x"))
        assert wire.wait(3).message == b"x"
        assert (order.count("unpacked") < 16, len(door2.app.seen)) == (True, 1)
        door2.until(lambda: door2.server.budget_used == 0)
