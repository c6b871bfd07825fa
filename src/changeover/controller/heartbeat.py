"""Once a second: what the gateways told becomes a beat, the alarms look at it, and those who listen get a sample."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic
from typing import Protocol

from changeover.controller.events.feed import Feed
from changeover.controller.events.sample import sample
from changeover.controller.fleet import Fleet
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver

TICK = 1.0
log = logging.getLogger("changeover.alerts")


class _Looks(Protocol):
    async def look(self, drivers: Mapping[str, Driver]) -> None: ...


Watches = Mapping[str, _Looks]


class Heartbeat:
    """Of one controller.

    Args:
        feed: gets the samples.
        watches: look at each second, one after the other, by what they look for.
    """

    def __init__(self, feed: Feed, watches: Watches, fleet: Fleet, journal: Journal) -> None:
        self._feed = feed
        self._watches = watches
        self._fleet = fleet
        self._journal = journal

    async def run(self, drivers: Mapping[str, Driver]) -> None:
        """Go on as long as the controller lives."""
        last = monotonic()
        while True:
            await asyncio.sleep(TICK - (monotonic() - last) % TICK)
            now = monotonic()
            self._fleet.observatory.pulse.tick(now - last)
            last = now
            for name, watch in self._watches.items():
                try:
                    await watch.look(drivers)
                except Exception:  # a defect there is no reason to end the control plane
                    log.exception("the %s could not look", name)
            try:
                if self._feed.sampled:
                    self._feed.show(await sample(drivers, self._fleet, self._journal))
            except Exception:  # nor one of the samples
                log.exception("no sample could be made")
