"""Bounds in the event loop's own time: a machine that stalls the loop stalls this clock with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_LINK = 0.01


async def pass_by(seconds: float, disk: Path | None = None) -> None:
    """Sleep so long in short links, each of which begins when the one before was noticed to be over.

    Args:
        seconds: of the loop's time.
        disk: a folder; in each link a byte is brought to its disk too, so that the clock is as slow as that is.
    """
    for _ in range(round(seconds / _LINK)):
        await asyncio.sleep(_LINK)
        if disk is not None:
            await asyncio.to_thread(_bring, disk / "byte")


def _bring(file: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(descriptor, b"x")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def within(seconds: float, work: Awaitable[T], disk: Path | None = None) -> T:
    """The result of what must end before a clock of the same loop has shown so many seconds.

    Raises:
        TimeoutError: the clock was faster.
    """
    task, clock = asyncio.ensure_future(work), asyncio.ensure_future(pass_by(seconds, disk))
    try:
        await asyncio.wait({task, clock}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError(f"not done in {seconds:g} s of the loop's time")
        return task.result()
    finally:
        task.cancel()
        clock.cancel()
