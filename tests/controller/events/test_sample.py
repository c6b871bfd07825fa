"""The sample: what every model does, in numbers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from changeover.controller.events.sample import figures, sample
from changeover.controller.fleet import Fleet
from changeover.controller.pulse import Beat
from changeover.rollout.driver import Driver
from changeover.telemetry.observations import bucket
from changeover.transport.reports import Observations, Observed
from tests.rollout.canary import judged
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, Stage, play


def test_two_versions_of_a_rollout(tmp_path: Path) -> None:
    """Role, share, rates and memory of both; the rollout without what does not change."""
    stage, fleet = Stage(tmp_path), MemoryFleet()
    told: list[dict[str, Any]] = []

    async def script(driver: Driver) -> None:
        judged(driver)
        await driver.offer(stage.offer(1))
        await driver.idle()
        await driver.offer(stage.canary(2, "steps: [25%]"))
        await driver.idle()
        old, new = sorted(driver.loader.live)
        fleet.observatory.record(1, Observations(1, [Observed(old, MODEL, 300, 0, 0, {bucket(0.002): 300})]))
        fleet.observatory.record(1, Observations(1, [Observed(new, MODEL, 90, 5, 0, {bucket(0.004): 90}, 5)]))
        fleet.observatory.pulse.tick(1.0)
        told.append(await sample({MODEL: driver}, cast(Fleet, fleet), driver.journal))

    with stage.journal() as journal:
        play(stage.driver(fleet, journal), script)
    assert (told[0]["type"], told[0]["model"]) == ("sample", None)
    model = told[0]["models"][MODEL]
    one, two = model["versions"]["1"], model["versions"]["2"]
    assert (one["role"], one["weight"], one["requests_per_s"], one["errors_per_s"]) == ("active", 7500, 300, 0)
    assert (two["role"], two["weight"], two["requests_per_s"], two["errors_per_s"]) == ("candidate", 2500, 100, 10)
    assert (round(one["p50_ms"]), round(two["p99_ms"])) == (2, 4)
    assert two["memory_bytes"] > 0
    assert model["rollout"]["step"]["name"] == "25%"
    assert "history" not in model["rollout"]


def test_a_model_at_rest_has_no_rollout() -> None:
    """And a server without models has none."""
    told = asyncio.run(sample({}, cast(Fleet, MemoryFleet()), cast(Any, None)))
    assert told["models"] == {}


def test_figures_of_no_traffic() -> None:
    """No rate and no latency, instead of a division by nothing."""
    empty = figures(Beat())
    assert (empty["requests_per_s"], empty["p99_ms"]) == (0, None)
