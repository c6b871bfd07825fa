"""Calls that came together, and those of others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from changeover.gateway.door.http2 import turns
from changeover.gateway.door.http2.call import Call
from changeover.gateway.door.http2.calls import TOGETHER_BYTES
from changeover.gateway.door.http2.connection import Http2Door
from tests.gateway.door.http2.served import ECHO, HOLD, Bench, Served, serving

from grpc_door_wire import call  # isort: skip


@dataclass
class Slow(Bench):
    """Takes a second for each call, by a clock of its own; others have their turn when the loop comes round."""

    now: float = 0.0
    order: list[str] = field(default_factory=list)

    def __call__(self, call: Call) -> None:
        """Answer, and ask for a turn."""
        self.now += 1.0
        self.order.append("call")
        asyncio.get_running_loop().call_soon(self.order.append, "others")
        super().__call__(call)


def test_others_have_their_turn_between_calls_that_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many large ones came together: none is lost, and they keep their order."""
    app, messages = Slow(), {number: b"%d" % number + bytes(TOGETHER_BYTES) for number in range(1, 17, 2)}
    monkeypatch.setattr(turns, "monotonic", lambda: app.now)
    with serving() as door2:
        door2.server._app = app
        with door2.wire() as wire:
            wire.send(b"".join(call(number, ECHO, message) for number, message in messages.items()))
            assert [wire.wait(number).message for number in messages] == list(messages.values())
    assert [bytes(seen.body) for seen in app.seen] == list(messages.values())
    assert app.order == ["call", "others"] * 8


def test_an_answer_of_the_turn_in_which_the_client_stopped_sending_goes_out(door2: Served) -> None:
    """The transport closes as soon as it has told of the end, behind what it was given until then."""
    with door2.wire() as wire:
        wire.send(call(1, HOLD, b"x"))
        door2.until(lambda: len(door2.app.held) == 1)
        door = cast(Http2Door, door2.app.held[0]._door)

        def answer_and_hear_the_end() -> None:
            door2.app.held[0].respond((b"y",))
            assert not door.eof_received()
            door._transport.close()

        door2.call(answer_and_hear_the_end)
        assert wire.wait(1).message == b"y"
