"""Bounds in the event loop's own time: a machine that stalls the loop stalls this clock with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")
_LINK = 0.01


async def pass_by(seconds: float) -> None:
    """Sleep so long in short links, each of which begins when the one before was noticed to be over."""
    for _ in range(round(seconds / _LINK)):
        await asyncio.sleep(_LINK)


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of what must end before a clock of the same loop has shown so many seconds.

    Raises:
        TimeoutError: the clock was faster.
    """
    task, clock = asyncio.ensure_future(work), asyncio.ensure_future(pass_by(seconds))
    try:
        await asyncio.wait({task, clock}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError(f"not done in {seconds:g} s of the loop's time")
        return task.result()
    finally:
        task.cancel()
        clock.cancel()
