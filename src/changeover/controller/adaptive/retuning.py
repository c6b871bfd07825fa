"""From a version that serves to a tuned one that wants to: samples, the tuner, and the push."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any, Protocol

from changeover.controller.adaptive import tuner
from changeover.controller.adaptive.tuner import Subject
from changeover.controller.recent import Archive
from changeover.errors import Conflict
from changeover.lifecycle.tarball import pack
from changeover.rollout.driver import Driver
from changeover.rollout.plan_adaptive import AdaptivePlan
from changeover.rollout.proving import GOLDEN
from changeover.settings import Settings


class _Push(Protocol):
    def __call__(
        self, model: str, version: int | None, source: IO[bytes], *, tar: bool, unless: Callable[[], bool]
    ) -> Awaitable[dict[str, Any]]: ...


class _Samples(Protocol):
    def __call__(self, name: str) -> Awaitable[Archive]: ...


class Retuning:
    """What a proposal comes to where it is pushed.

    Args:
        settings: of the server.
        push: as operators push; what it brings has to pass the same gates and steps.
        samples: recent requests of a model.
    """

    def __init__(self, settings: Settings, *, push: _Push, samples: _Samples) -> None:
        self._settings = settings
        self._push = push
        self._samples = samples

    async def retune(self, driver: Driver, adaptive: AdaptivePlan) -> tuple[str, str, dict[str, Any]]:
        """Tune the version that serves; what became of it, a sentence, and the answer to the push.

        Raises:
            ChangeoverError: what is made of it cannot be pushed.
            OSError: there is no room for it.
        """
        active = driver.active
        if active is None:
            return "failed", "no version serves any more", {}
        golden = Path(self._settings.repository or "") / driver.model / GOLDEN
        found = golden if self._settings.repository is not None and golden.is_dir() else None
        custom_ops = Path(self._settings.custom_ops) if self._settings.custom_ops is not None else None
        subject = Subject(active.artifact, active.plan, found, await self._requests(driver.model), custom_ops)
        with tuner.workspace(self._settings.state) as name:
            outcome = await tuner.tune(subject, adaptive, Path(name))
            if outcome.version is None:
                return outcome.state, outcome.sentence, {}
            if driver.active is not active:
                return "failed", "another version serves by now", {}
            if under_way(driver):  # it would wait in the queue, and then replace whatever is promoted now
                return "failed", "another rollout has begun meanwhile", {}
            answer = await self._pushed(driver, outcome.version)
        return outcome.state, outcome.sentence, answer

    async def _requests(self, model: str) -> bytes:
        try:
            archive = await self._samples(model)
        except Conflict:  # of a private model nothing is kept
            return b""
        return archive.data if archive.samples else b""

    async def _pushed(self, driver: Driver, version: Path) -> dict[str, Any]:
        with tempfile.TemporaryFile(dir=version.parent) as file:
            await asyncio.to_thread(pack, version, file)
            return await self._push(driver.model, None, file, tar=True, unless=lambda: under_way(driver))


def under_way(driver: Driver) -> bool:
    """Whether a rollout is, or its undo window, or one waits for its turn."""
    current = driver.current
    return driver.queue.waits or (current is not None and not current.rollout.phase.terminal)
