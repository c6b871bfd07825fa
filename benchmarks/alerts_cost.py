"""What the built-in alerts cost the controller each second: 200 models with two versions each, all with traffic.

No 400 workers are started: the drivers' facts are made, and everything behind them is a controller's: reports become
beats, and the watch looks at them. Nothing else of the controller runs meanwhile, so this is how long its event loop is
held up at most, unless the watch lets it go on in between.

    python benchmarks/alerts_cost.py [TICKS]
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from changeover.controller.alarms.past import Past, Slice
from changeover.controller.alarms.watch import Watch
from changeover.controller.observatory import Observatory
from changeover.controller.point import Point
from changeover.records.journal import Journal
from changeover.settings import Settings
from changeover.transport.reports import Observed

MODELS = 200
BUCKETS = 120
HOUR = 3600
USUAL_S = 0.065
"""The 95th percentile of what the gateway tells."""
REACH_MS = 60.0
"""A look and a beat together: a fifth of what it was when this was written, at its worst second."""


def driver(number: int) -> Any:
    """A model in a canary: loading `2 n` is its active version, `2 n + 1` the candidate."""
    pair = [SimpleNamespace(number=2 * number + v, version=v + 1, name=f"{v + 1}@ab12") for v in range(2)]
    made = SimpleNamespace(
        model=f"model-{number}", active=pair[0], candidate=pair[1], standby=None, current=None,
        loader=SimpleNamespace(live={one.number: one for one in pair}), recovered=asyncio.Event(),
    )  # fmt: skip
    made.recovered.set()
    made.role = lambda loading: "active" if loading is made.active else "candidate"
    return made


class Gateway:
    """Tells of all loadings, some hundred answers a second each."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        self._told = [dict.fromkeys(range(400, 400 + BUCKETS), 1) for _ in range(2 * MODELS)]

    def tell(self, observatory: Observatory, second: int) -> None:
        """One second's report."""
        for number, latency in enumerate(self._told):
            for bucket in latency:
                latency[bucket] += self._chance.randrange(1, 5)
            seen = Observed(number, f"model-{number // 2}", sum(latency.values()), 0, 0, latency)
            observatory.pulse.record(1, Point.of(second * 10**9, seen))


async def measured(ticks: int) -> dict[str, list[float]]:
    """Milliseconds of each tick's parts, with an hour of past behind them."""
    fleet: Any = SimpleNamespace(observatory=Observatory(), workers={})
    drivers = {one.model: one for one in map(driver, range(MODELS))}
    gateway = Gateway()
    took: dict[str, list[float]] = {"beat": [], "look": [], "longest": []}
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.db") as journal:
        watch = Watch(Settings(), journal, fleet)
        _remembered(watch, drivers)
        for second in range(1, ticks + 1):
            gateway.tell(fleet.observatory, second)
            began = time.perf_counter()
            fleet.observatory.pulse.tick(1.0)
            took["beat"].append((time.perf_counter() - began) * 1e3)
            began, longest = time.perf_counter(), asyncio.create_task(_longest())
            await asyncio.sleep(0)
            await watch.look(drivers)
            took["look"].append((time.perf_counter() - began) * 1e3)
            longest.cancel()
            took["longest"].append(await longest)
    return took


async def _longest() -> float:
    """How long others of the loop wait at most for a turn, in milliseconds; until it is cancelled."""
    most, last = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            most, last = max(most, now - last), now
    except asyncio.CancelledError:
        return max(most, time.perf_counter() - last) * 1e3


def _remembered(watch: Watch, drivers: dict[str, Any]) -> None:
    """An hour that was like any."""
    chance = random.Random(2)
    hour = [Slice(USUAL_S * chance.lognormvariate(0, 0.1), 1000, chance.randrange(2)) for _ in range(HOUR // 10)]
    lookout: Any = vars(watch)["_lookout"]
    for known, names in (("_past", range(2 * MODELS)), ("_models", drivers)):
        for name in names:
            past = vars(lookout)[known][name] = Past()
            for one in hour:
                past.add(one)


def main() -> None:
    took = asyncio.run(measured(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
    both = sorted(beat + look for beat, look in zip(took["beat"], took["look"], strict=True))
    print(json.dumps({
        "figure": f"built-in alerts of {MODELS} models with two versions, each second",
        "met": both[-1] <= REACH_MS,
        "reach": f"<= {REACH_MS:g} ms in the worst second",
        "median_ms": round(both[len(both) // 2], 1),
        "worst_ms": round(both[-1], 1),
        "worst_beat_ms": round(max(took["beat"]), 1),
        "loop_held_up_ms": round(max(took["longest"]), 1),
        "ticks": len(both),
    }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
