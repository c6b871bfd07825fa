"""One controller's watch over one model, without a server: the clock, the traffic and the tunings are a script's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from changeover.controller.adaptive.conditions import Hardware
from changeover.controller.adaptive.watch import AdaptiveWatch
from changeover.controller.observatory import Observatory
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver
from changeover.rollout.plan import parse_plan
from changeover.settings import Settings
from changeover.telemetry.statistics import Ran
from changeover.transport.reports import Observations, Observed

HARDWARE = Hardware(2, "ab", "1.31.1", 8 << 30)
LOADING = 7
Answer = tuple[str, str, dict[str, Any]]


class House:
    """One controller's watch over one model, with a clock of its own: a slice is a second.

    Attributes:
        retuned: what each tuning comes to; raised where it is an exception.
    """

    def __init__(self, journal: Journal, plan: str) -> None:
        self.journal, self.plan = journal, parse_plan(plan)
        self.now = 1e9
        self.hardware = HARDWARE
        self.retuned: list[Answer | BaseException] = []
        self.observatory = Observatory()
        self.observatory.totals.role_of = lambda _model, _loading: "active"
        self.watch = AdaptiveWatch(journal, self.observatory, self._retune)
        loading = SimpleNamespace(number=LOADING, plan=self.plan, artifact=SimpleNamespace(folder=Path("/sealed")))
        self.driver = SimpleNamespace(
            model="m", active=loading, candidate=None, current=None, settings=Settings(),
            queue=SimpleNamespace(waits=False),
        )  # fmt: skip
        self._requests = 0

    async def seconds(self, count: int, rate: int = 20, rows: int = 1) -> None:
        """So many seconds with so many requests in each."""
        for _ in range(count):
            self._requests += rate
            self.now += 1.0
            ran = Ran(self._requests, self._requests, self._requests, sizes={rows: self._requests})
            seen = Observed(LOADING, "m", self._requests, 0, 0, {}, ran=ran)
            self.observatory.record(1, Observations(int(self.now * 1e9), [seen]))
            await self.watch.look({"m": cast(Driver, self.driver)})

    async def _retune(self, *_: object) -> Answer:
        found = self.retuned.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    def states(self) -> list[str]:
        """Of the events, oldest first."""
        return [str(event.body["state"]) for event in self.journal.events.after() if event.kind == "proposal"]

    @property
    def proposal(self) -> dict[str, Any]:
        shown = self.watch.shown(cast(Driver, self.driver))
        assert shown is not None
        found: dict[str, Any] = shown["proposal"]
        return found

    def run(self, script: Callable[[], Awaitable[None]]) -> None:
        async def term() -> None:
            async with asyncio.TaskGroup() as self.watch.tasks:
                await script()

        asyncio.run(term())
