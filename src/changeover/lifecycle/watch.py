"""Follow a repository: an asynchronous generator of what settled, was removed or is no version.

The system's notices (inotify) make it prompt, rescans make it sure: network file systems and full tables of watches
send no notices. Reading the repository happens in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import watchfiles

from changeover.lifecycle.settle import SETTLE_SECONDS, Settler, inspect
from changeover.lifecycle.source import Snapshot, changes, scan, version_folder

_FIRST_LOOKS: Final = 6
"""Settling times after which the first observation comes even if something is still being written."""

RESCAN_SECONDS: Final = 5.0
"""Between two readings of a repository in which nothing is going on."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one reading of the repository brought.

    Attributes:
        settled: (model, version) pairs with contents not told before, ready to be sealed.
        removed: (model, version) pairs whose folder is gone; what serves goes on serving.
        ignored: sentences on what lies there and is no version, only when they differ from the last ones.
    """

    settled: tuple[tuple[str, int], ...] = ()
    removed: tuple[tuple[str, int], ...] = ()
    ignored: tuple[str, ...] = ()

    def and_then(self, later: Observation) -> Observation:
        """Both as one."""
        return Observation(self.settled + later.settled, self.removed + later.removed, later.ignored or self.ignored)


async def watch(
    repository: Path,
    stop: asyncio.Event,
    *,
    settle: float = SETTLE_SECONDS,
    rescan: float = RESCAN_SECONDS,
    anew: set[tuple[str, int]] | None = None,
) -> AsyncIterator[Observation]:
    """Yield an observation whenever there is something to tell, until `stop` is set.

    The first one always comes, after the settling time, with all versions that were there at the start (one that
    is still being written then comes later). A repository that is missing, or goes missing, is told in `ignored`
    and watched for.

    Args:
        repository: folder of the models.
        stop: ends the generator.
        settle: seconds without a change after which a folder is taken.
        rescan: seconds between two readings without notices.
        anew: (model, version) pairs that could not be taken when they were told; taken out of it, they are told again
            when they settle again, as they are then.
    """
    settler = Settler(
        lambda model, version, stamps: inspect(version_folder(repository, model, version), stamps), settle
    )
    last, due = Snapshot(), 0.0
    ignored: tuple[str, ...] = ()
    held: Observation | None = Observation()
    first_by = time.monotonic() + _FIRST_LOOKS * settle
    async for noticed in _notices(repository, stop, settle / 2):
        now = time.monotonic()
        if not (noticed or settler.waiting or anew or now >= due):
            continue
        while anew:
            settler.forget(*anew.pop())
        due = now + rescan
        snapshot = await asyncio.to_thread(scan, repository)
        settled = await asyncio.to_thread(settler.observe, snapshot, now)
        told, ignored = ignored, (*snapshot.ignored, *settler.lacking(now))
        news = ignored if ignored != told else ()
        observation = Observation(tuple(settled), changes(last, snapshot).removed, news)
        last = snapshot
        if held is not None:
            held = held.and_then(observation)
            if not settler.waiting or now >= first_by:
                yield held
                held = None
        elif observation != Observation():
            yield observation


async def _notices(repository: Path, stop: asyncio.Event, pause: float) -> AsyncIterator[bool]:
    """Yield at once, then after each notice (true) and at least every `pause` seconds (false)."""
    yield True
    while not stop.is_set():
        try:
            async for found in watchfiles.awatch(
                repository,
                watch_filter=None,
                debounce=200,
                step=50,
                stop_event=stop,
                rust_timeout=max(1, int(pause * 1000)),
                yield_on_timeout=True,
            ):
                yield bool(found)
        except (OSError, RuntimeError):
            # No such folder yet, or no watches left: look by the clock, and try for notices again.
            await _pause(stop, pause)
            yield False


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
