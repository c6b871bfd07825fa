"""What the application holds while an answer is wanted, and what it is told when none is any more."""

from __future__ import annotations

import pytest

from changeover.gateway.door.request import HttpRequest
from tests.gateway.door.served import Served, post


def test_abandonment_without_a_callback(door: Served) -> None:
    """An application that did not ask is not told, and its answer does nothing."""
    with door.client() as client:
        client.send(post(b"", path="/hold"))
        door.until(lambda: len(door.app.held) == 1)
    request: HttpRequest = door.app.held[0]

    def abandon() -> None:
        request.abandoned = None

    door.call(abandon)
    door.until(lambda: not request.open, "abandonment")
    door.call(lambda: request.respond(200, b"", ()))
    assert door.app.abandoned == []


def test_callback_that_raises_hurts_nobody(door: Served, caplog: pytest.LogCaptureFixture) -> None:
    """A defect in the application's callback is logged, and the connection's end goes on."""
    with door.client() as client:
        client.send(post(b"x" * 100_000, path="/hold"))
        door.until(lambda: len(door.app.held) == 1)

        def fail() -> None:
            raise ValueError("a defect")

        door.app.held[0].abandoned = fail
    door.until(lambda: "abandoned() raised" in caplog.text, "the line in the log")
    door.until(lambda: door.server.connections == 0, "the end")
    assert door.server.budget_used == 0
