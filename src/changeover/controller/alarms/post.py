"""One POST with a bound on all of it together: connecting, sending, and the head of the answer."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

_MOST_HEAD: Final = 64 << 10


class NotTaken(Exception):
    """It was not taken.

    Attributes:
        for_good: sending the same again would come to the same.
    """

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(why)
        self.for_good = for_good


async def post(url: str, body: bytes, patience: float) -> None:
    """Send JSON to an address; returns when it was taken (2xx).

    Raises:
        NotTaken: refused, silent for `patience` seconds, or another status.
    """
    try:
        async with asyncio.timeout(patience):
            status = await _exchange(url, body)
    except TimeoutError:
        raise NotTaken(f"no answer within {patience:g} s") from None
    except (OSError, ssl.SSLError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise NotTaken(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None
    if not 200 <= status < 300:
        for_good = 300 <= status < 500 and status not in (408, 425, 429)
        raise NotTaken(f"it answered {status}", for_good=for_good)


async def _exchange(url: str, body: bytes) -> int:
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls, limit=_MOST_HEAD)
    with closing(writer):
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\nuser-agent: changeover\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        await writer.drain()
        while (line := await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 1"):  # such as 100 Continue
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
        version, status = line.split(maxsplit=2)[:2]
        if not version.startswith(b"HTTP/1."):
            raise ValueError("its answer is no HTTP")
        return int(status)
