"""A listener of a real server's events."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from changeover.testing import Server


class Listener:
    """An open connection to `/v1/events`; a context manager that ends it.

    Attributes:
        last: number of the last event that had one.
    """

    def __init__(self, server: Server, query: str = "", last: int | None = None, patience: float = 30.0) -> None:
        self.last = last
        headers = {} if last is None else {"last-event-id": str(last)}
        self._connection = http.client.HTTPConnection("127.0.0.1", server.control_port, timeout=patience)
        self._connection.request("GET", f"/v1/events{query}", headers=headers)
        self.answer = self._connection.getresponse()
        if self.answer.status == 200:
            assert self.answer.readline() == b"retry: 1000\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def next(self) -> dict[str, Any]:
        """The next event; comments are passed over.

        Raises:
            EOFError: the stream has ended.
        """
        data: bytes | None = None
        while True:
            line = self.answer.readline()
            if not line:
                raise EOFError
            if line == b"\n" and data is not None:
                told: dict[str, Any] = json.loads(data)
                return told
            name, _, value = line.rstrip(b"\n").partition(b": ")
            if name == b"id":
                self.last = int(value)
            elif name == b"data":
                data = value

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Events up to the first that is wanted."""
        found = [self.next()]
        while not wanted(found[-1]):
            found.append(self.next())
        return found


class Reader:
    """Takes what it is sent, as long as it wants."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def send(self, message: Any) -> None:
        await self.takes.wait()
        self.taken.append(message.get("body", b""))

    async def receive(self) -> Any:
        await asyncio.Event().wait()
