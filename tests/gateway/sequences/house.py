"""A gateway with models that keep sequences: a real pipeline, channels and tables; the workers are `stateful`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from changeover.sequences.wire import Status
from tests.gateway.sequences.stateful import GEOMETRY, StatefulWorker
from tests.gateway.stage import Request, Stage, stage


class House:
    """A stage whose workers keep sequences."""

    def __init__(self, made: Stage) -> None:
        self.stage = made
        self.workers: dict[int, StatefulWorker] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.answer: Callable[[], None] = lambda: None
        """What a test has a worker say later."""

    def serve(self, epoch: int, *loadings: Any, **more: Any) -> None:
        """Publish a table; new loadings get workers."""
        known = set(self.stage.models.targets)
        new = [x.loading for x in loadings if x.loading not in known]
        for number, worker in zip(new, self.stage.serve(epoch, *loadings, **more), strict=True):
            self.start(number, StatefulWorker(worker, number))

    def start(self, loading: int, worker: StatefulWorker) -> None:
        """Let a worker serve."""
        self.workers[loading] = worker
        self.tasks.append(asyncio.create_task(worker.serve()))

    async def ask(self, request: Request) -> Any:
        """The sum that a step answers with, or the reason of its refusal."""
        self.stage.ask(request)
        await self.stage.answered(request)
        told = request.json()
        return told["outputs"][0]["data"][0] if request.status == 200 else told["reason"]


@contextlib.asynccontextmanager
async def house(**options: Any) -> AsyncIterator[House]:
    """A stage, and its workers ended."""
    async with stage(**options) as made:
        found = House(made)
        try:
            yield found
            assert not [t.exception() for t in found.tasks if t.done() and not t.cancelled() and t.exception()]
        finally:
            for task in found.tasks:
                task.cancel()


def slab_of(worker: StatefulWorker) -> Any:
    from changeover.sequences.slab import Slab

    return Slab(worker.slab())


class Shown:
    """What a gateway sees of a worker's slab, as it is at each look."""

    def __init__(self, worker: StatefulWorker) -> None:
        self._worker = worker

    @property
    def live(self) -> int:
        """How many live."""
        return len(list(self.live_keys()))

    geometry = GEOMETRY

    def live_keys(self, _: range | None = None) -> list[tuple[bytes, bytes]]:
        """Of the live ones; the tag is made up of the place."""
        records = self._worker.records.items()
        return [(k, b"\x01%d" % (n + 1)) for n, (k, r) in enumerate(records) if r.saved and r.status is Status.OK]
