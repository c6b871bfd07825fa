"""Connections to the control port's server over real sockets: silent, slow and kept ones."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from changeover.controller import patience
from changeover.controller.patience import PatientProtocol

HEAD = b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"
GOOD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for a head."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", 1.0)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Takes longer for an answer than a head may."""
    await asyncio.sleep(1.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server with this protocol."""
    config = uvicorn.Config(app, http=PatientProtocol, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        running = asyncio.create_task(server.serve(sockets=[sock]))
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        yield reader, writer
        writer.close()
        server.should_exit = True
        await running


def test_a_silent_connection_ends() -> None:
    """Without a word."""

    async def scenario() -> None:
        async with connected() as (reader, _):
            assert await asyncio.wait_for(reader.read(), 30) == b""

    asyncio.run(scenario())


def test_half_a_head_keeps_no_connection() -> None:
    """Neither as the first one nor on a connection that was answered once."""

    async def scenario() -> None:
        for before in (b"", HEAD):
            async with connected() as (reader, writer):
                writer.write(before)
                if before:
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(GOOD)
                writer.write(HEAD[:10])
                assert await asyncio.wait_for(reader.read(), 30) == b""

    asyncio.run(scenario())


def test_a_slow_answer_and_a_kept_connection_are_not_cut() -> None:
    """Time runs while a head is missing, and at no other time."""

    async def scenario() -> None:
        async with connected() as (reader, writer):
            for _ in range(2):
                writer.write(HEAD)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(GOOD)
                await asyncio.sleep(1.2)

    asyncio.run(scenario())
