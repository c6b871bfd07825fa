"""Waiting for what others say: a coroutine names a condition on plain state, and looks again at every change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class News:
    """That anything has changed.

    Attributes:
        listen: hears what has arrived already, without waiting.
    """

    def __init__(self) -> None:
        self.listen: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._changed.set()

    async def more(self, seconds: float) -> None:
        """Wait for the next change, at most so long."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition; False when the seconds pass first."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True
