"""`GET /v1/events`: the feed as server-sent events, to one listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from time import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from changeover.controller.events.feed import TYPES, Feed, Wanted, document, lines
from changeover.controller.patience import ABORT
from changeover.errors import InvalidRequest, Overloaded

MOST: Final = 64
"""Listeners at a time."""
_QUIET: Final = 10.0
"""Seconds without a word after which a comment says that the connection lives."""
PATIENCE: Final = 10.0
"""Seconds for which a reader may take nothing; then its connection ends."""
_TYPE: Final = "text/event-stream"
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
_BEGIN: Final = b"retry: 1000\n\n"
_PRESENT: Final = "present"
"""A comment: what follows happens from now on."""
_QUIET_WORD: Final = "keep-alive"
_CHECKED: Final = 9.0
"""Seconds after which it is looked again whether its reader may still listen."""


async def events(feed: Feed, request: Request) -> Response:
    """The answer to a listener: what is after the event that it names, and then what comes.

    Raises:
        InvalidRequest: the number of the last event is none (`invalid_event_id`), a type is unknown.
        Overloaded: there are `MOST` listeners (`too_many_listeners`).
    """
    after, wanted = _after(request), _wanted(request)
    newest = 0 if after is not None else _number(request.query_params.get("last", "0"))
    if request.method == "HEAD":
        return Response(media_type=_TYPE, headers=_HEADERS)
    if feed.listeners >= MOST:
        raise Overloaded(f"{MOST} listeners are there already; try again in a moment", reason="too_many_listeners")
    told = _told(feed, after, wanted, newest)
    if (allowed := getattr(request.state, "allowed", None)) is not None:
        told = _while(allowed, told)
    return Stream(feed, told, samples=wanted.samples)


class Stream(StreamingResponse):
    """One listener's answer. It has no end; its reader's going away, or taking nothing for long, is one."""

    def __init__(self, feed: Feed, told: AsyncGenerator[bytes, None], *, samples: bool) -> None:
        super().__init__(told, media_type=_TYPE, headers=_HEADERS)
        self._feed = feed
        self._samples = samples
        self._abort: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count as a listener meanwhile."""
        self._abort = scope.get(ABORT, self._abort)
        self._feed.listeners += 1
        self._feed.sampled += self._samples
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.listeners -= 1
            self._feed.sampled -= self._samples

    async def stream_response(self, send: Send) -> None:
        """Send one piece after the other."""

        async def patiently(message: Any) -> None:
            async with asyncio.timeout(PATIENCE):
                await send(message)

        try:
            await super().stream_response(patiently)
        except TimeoutError:
            self._abort()


async def _while(allowed: Callable[[], bool], told: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """What is told to a reader as long as it may listen; there is a word every `_QUIET` seconds at least."""
    now = asyncio.get_running_loop().time
    checked = now()
    async with aclosing(told):
        async for piece in told:
            if now() - checked >= _CHECKED:
                checked = now()
                if not allowed():
                    return
            yield piece


async def _told(feed: Feed, after: int | None, wanted: Wanted, newest: int = 0) -> AsyncGenerator[bytes, None]:
    yield _BEGIN
    now, shown = asyncio.get_running_loop().time, feed.newest
    place, reset = await feed.place(after, newest)
    if reset is not None:
        yield _reset(reset, place)
    said = now()
    present = False
    while True:
        found = await feed.next(place)
        if found and found[0].id > place + 1:  # pruned while its reader was slow
            place, reset = await feed.place(place)
            if reset is not None:
                yield _reset(reset, place)
        piece = b"".join(lines(document(e), e.id) for e in found if wanted.takes(e.kind, e.model))
        if found:
            place = found[-1].id
        elif not present:
            present, piece = True, _comment(_PRESENT, place)
        elif wanted.samples and feed.sample is not None and feed.newest > shown:
            shown, piece = feed.newest, lines(_of(feed.sample.document, wanted.model))
        elif now() - said >= _QUIET:
            piece = _comment(_QUIET_WORD, place)
        if piece:
            yield piece
            said = now()
        elif not found:
            await feed.news(place, shown if wanted.samples else None, max(_QUIET - (now() - said), 0))


def _comment(word: str, place: int) -> bytes:
    """With the place, so that a reader to whom nothing was told of late goes on there when it comes again."""
    return f": {word}\nid: {place}\n\n".encode()


def _reset(told: dict[str, Any], place: int) -> bytes:
    """Its number is that of the place, so that a reader which comes again is not told again."""
    return lines({**told, "at": round(time(), 6)}, place)


def _of(sample: dict[str, Any], model: str | None) -> dict[str, Any]:
    if model is None:
        return sample
    return {**sample, "models": {name: told for name, told in sample["models"].items() if name == model}}


def _after(request: Request) -> int | None:
    """The header counts over the address: a browser that comes again sends it, and asks for the same address."""
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    return None if text is None else _number(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequest(
            f"an event's id, or a count of events: expected a number, got {text[:40]!r}", reason="invalid_event_id"
        )
    return int(text)


def _wanted(request: Request) -> Wanted:
    types = frozenset(filter(None, request.query_params.get("types", "").split(",")))
    if unknown := sorted(types - set(TYPES)):
        raise InvalidRequest(f"types: there is no {unknown[0][:40]!r}; known: {', '.join(TYPES)}")
    return Wanted(request.query_params.get("model"), types)
