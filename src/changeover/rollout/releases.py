"""The versions of one model that no table names any more: drained, and then their workers end.

What keeps sequences may take minutes, so it ends beside everything else. The next candidate waits for that: no more
than three workers a model live at once, and a sequence never meets the plan of a version that did not follow its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from changeover.rollout.fleet import Fleet
from changeover.rollout.loading import Loader, Loading

log = logging.getLogger("changeover.controller")


class Releases:
    """What ends now.

    Args:
        loader: of the model.
        fleet: that holds leases.
        deadline: seconds after which what still holds a version is run again elsewhere.
        beside: runs a coroutine beside the driver.
    """

    def __init__(
        self,
        loader: Loader,
        fleet: Fleet,
        deadline: float,
        beside: Callable[[Coroutine[None, None, Any]], asyncio.Task[Any]],
    ) -> None:
        self._loader = loader
        self._fleet = fleet
        self._deadline = deadline
        self._beside = beside
        self._ending: set[asyncio.Task[Any]] = set()
        self._awaited = asyncio.Event()

    async def end(self, loading: Loading) -> None:
        """Wait for the last lease, then end the worker; past the deadline its requests run on the active version."""
        if not await self._fleet.drained(loading.number, await self._loader.drain(loading, self._deadline)):
            log.error("%r still has leases at the drain deadline; they are run again elsewhere", loading)
        if not await self._loader.release(loading):
            log.error("the worker of %r had to be killed", loading)

    async def go(self, loading: Loading, then: Callable[[], None] = lambda: None) -> asyncio.Task[None] | None:
        """End a version; returns what is left to do where sequences may live in it, else when it has ended."""
        if loading.idle:
            return self.beside(loading, then)
        await self.end(loading)
        then()
        return None

    def beside(self, loading: Loading, then: Callable[[], None] = lambda: None) -> asyncio.Task[None]:
        """The same beside everything else; `then` is called when it has ended."""

        async def ended() -> None:
            await self.end(loading)
            then()

        task = self._beside(ended())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def over(self) -> None:
        """Wait until nothing ends any more."""
        if self._ending:
            log.info("the next version waits until %d before it have drained", len(self._ending))
            self._awaited.set()
        try:
            while self._ending:
                await asyncio.wait(self._ending)
        finally:
            self._awaited.clear()

    async def unless_awaited(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for some work, or until that has to wait itself until nothing ends any more: who knows how long."""
        either = {asyncio.ensure_future(work), asyncio.ensure_future(self._awaited.wait())}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in either:
                task.cancel()
