"""Packed bodies over HTTP: unpacked in pieces, between which others have their turn."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest

from changeover.gateway.http import HttpApp
from tests.gateway.extended import http_app
from tests.gateway.stage import Request, Stage, entry, question, stage

PACKED = {b"content-encoding": b"gzip"}
MIB = 1 << 20


class Waiting(Request):
    """Is taken again in the loop's next turn, as the door does it."""

    turns = 0

    def later(self, take: Callable[[Request], None]) -> None:
        """Count the turns that others have."""
        self.turns += 1
        asyncio.get_running_loop().call_soon(take, self)


def spaced(size: int) -> bytes:
    """A question of so many bytes, most of them blanks, which pack well."""
    return question().body.ljust(size)


def asked(app: HttpApp, body: bytes, headers: dict[bytes, bytes]) -> Waiting:
    """A request that the application has."""
    request = Waiting(body, headers)
    app(request)  # type: ignore[arg-type]
    return request


def on_stage(check: Callable[[Stage, HttpApp], Any], **options: Any) -> None:
    """Run a check with a model that answers what it is asked, times two."""

    async def scenario() -> None:
        async with stage(**options) as here:
            (worker,) = here.serve(1, entry(7, "1"))
            serving = asyncio.create_task(worker.serve(2.0))
            try:
                await check(here, http_app(here))
            finally:
                serving.cancel()

    asyncio.run(scenario())


def test_others_have_their_turn_between_the_pieces() -> None:
    """One after each mebibyte but the last; the same body as it is, and a small packed one, are taken at once."""

    async def check(here: Stage, app: HttpApp) -> None:
        plain = spaced(3 * MIB + 1)
        packed, whole = asked(app, gzip.compress(plain), PACKED), asked(app, plain, {})
        small = asked(app, gzip.compress(question().body), PACKED)
        await here.answered(packed, whole, small)
        assert (packed.turns, whole.turns, small.turns) == (3, 0, 0)
        assert packed.values == whole.values == small.values == [2, 4, 6, 8]
        assert packed.held == len(plain)

    on_stage(check)


@pytest.mark.parametrize(
    ("body", "most", "status", "reason"),
    [
        (gzip.compress(spaced(3 * MIB))[:-9], 1 << 30, 400, "malformed_content_encoding"),
        (gzip.compress(spaced(3 * MIB)), 2 * MIB, 503, "overloaded"),
        (gzip.compress(spaced(5 * MIB)), 1 << 30, 413, "json_too_large"),
    ],
)
def test_what_is_wrong_in_a_later_piece_is_told(body: bytes, most: int, status: int, reason: str) -> None:
    """By its word, and it is counted among the model's errors."""

    async def check(here: Stage, app: HttpApp) -> None:
        request = Waiting(body, PACKED, most_held=most)
        app(request)  # type: ignore[arg-type]
        await here.answered(request)
        assert (request.status, request.json()["reason"]) == (status, reason)
        assert request.turns > 0
        assert [key[1] for key in here.models.targets[7].counter.errors] == [reason]

    on_stage(check)


def test_nothing_is_unpacked_of_what_is_shed() -> None:
    """A full queue costs a request nothing but its refusal."""

    async def check(here: Stage, app: HttpApp) -> None:
        first = asked(app, question().body, {})
        second = asked(app, gzip.compress(spaced(3 * MIB)), PACKED)
        assert (second.status, second.json()["reason"]) == (503, "queue_full")
        assert (second.turns, second.held) == (0, 0)
        await here.answered(first)

    on_stage(check, queue_limit=1)
