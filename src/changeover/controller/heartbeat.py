"""Once a second: what the gateways told becomes a beat, and those who listen get a sample."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

from changeover.controller.events.feed import Feed
from changeover.controller.events.sample import sample
from changeover.controller.fleet import Fleet
from changeover.records.journal import Journal
from changeover.rollout.driver import Driver

TICK = 1.0


async def beat(feed: Feed, drivers: Mapping[str, Driver], fleet: Fleet, journal: Journal) -> None:
    """Go on as long as the controller lives."""
    last = monotonic()
    while True:
        await asyncio.sleep(TICK - (monotonic() - last) % TICK)
        now = monotonic()
        fleet.observatory.pulse.tick(now - last)
        last = now
        if feed.sampled:
            feed.show(await sample(drivers, fleet, journal))
