"""`GET /metrics`: the facts are taken on the event loop, read from the kernel and written down in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic_ns
from typing import Final

import psutil

from changeover.controller.metrics.families import Machine, families
from changeover.controller.metrics.gpu import Gpus
from changeover.controller.metrics.processes import Processes
from changeover.controller.metrics.snapshot import Snapshot
from changeover.protocol import exposition
from changeover.protocol.exposition import OPENMETRICS, PROTOBUF
from changeover.protocol.exposition_proto import protobuf
from changeover.runtime import machine
from changeover.runtime.machine import Memory

RECENT: Final = 30.0
"""Seconds behind the quantiles of the last seconds: longer than most scrapers leave between two scrapes."""


class Scrape:
    """Answers scrapes, one after the other: two scrapers must not cost twice at the same moment.

    Args:
        taken: the facts of the present moment; how far back the last seconds reach is its argument (monotonic ns).
        look: has at hand what they need and other processes have.
    """

    def __init__(self, taken: Callable[[int], Snapshot], look: Callable[[], Awaitable[None]]) -> None:
        self._taken = taken
        self._look = look
        self._processes = Processes()
        self._gpus = Gpus()
        self._turn = asyncio.Lock()

    async def answer(self, accept: str) -> tuple[str, bytes]:
        """Content type and body for a reader with this `Accept`."""
        form = exposition.negotiated(accept)
        async with self._turn:
            await self._look()
            moment = self._taken(monotonic_ns() - round(RECENT * 1e9))
            return form, await asyncio.to_thread(self.written, moment, form)

    def written(self, moment: Snapshot, form: str) -> bytes:
        """The body; reads the kernel's files, so not on the event loop."""
        found = families(moment, self._machine(moment))
        if form == PROTOBUF:
            return protobuf(found)
        return exposition.text(found, openmetrics=form == OPENMETRICS)

    def _machine(self, moment: Snapshot) -> Machine:
        workers = [v.worker.pid for v in moment.versions if v.worker is not None and v.worker.pid is not None]
        host = psutil.virtual_memory()
        processes = self._processes.read([*workers, *(pid for _, pid in moment.processes)])
        return Machine(processes, Memory(host.total, host.available, "host"), machine.memory(), self._gpus.read())
