"""The facts of one moment, as a service has them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from changeover.controller.fleet import Fleet
from changeover.controller.metrics.snapshot import Snapshot, taken
from changeover.controller.point import Point
from changeover.controller.service import Service
from tests.controller.metrics.moments import observed
from tests.controller.service_house import Client, House, is_watching, serves
from tests.rollout.stage import MODEL, until


def test_versions_rollouts_and_counts_are_there(tmp_path: Path) -> None:
    """Roles and weights of the table in force, the last rollout with its phase, what the gateways told."""
    house = House(tmp_path)
    house.put(1)
    seen: list[Snapshot] = []

    async def script(service: Service, _: Client) -> None:
        await until_serving(service, "1")
        number = next(iter(service.drivers.by_model[MODEL].loader.live))
        house.fleet.observatory.totals.record(1, Point.of(0, observed(number, MODEL)))
        seen.append(moment(service, house))
        house.put(2)
        await until_serving(service, "2")
        assert await is_watching(service, MODEL)
        seen.append(moment(service, house))

    house.run(script)
    first, second = seen
    (version,) = first.versions
    assert (version.model, version.version, version.role, version.weight) == (MODEL, "1", "active", 1.0)
    assert version.sequences == 7
    assert first.counted.total((version.loading, "active")).http.answered == 100
    roles = {v.version: (v.role, v.weight) for v in second.versions}
    assert roles == {"1": ("standby", 0.0), "2": ("active", 1.0)}
    (rollout,) = second.rollouts
    assert (rollout.source, rollout.target, rollout.phase) == ("1", "2", "watching")
    assert rollout.moved > 1.6e9
    assert {name for name, _ in second.processes} >= {"controller", "supervisor"}


def moment(service: Service, house: House) -> Snapshot:
    """The present one; the processes are none of a server."""
    visits = SimpleNamespace(known=lambda _: SimpleNamespace(live=7))
    fleet = SimpleNamespace(workers={}, gateways={}, observatory=house.fleet.observatory, visits=visits)
    return taken(service.drivers.by_model.values(), cast(Fleet, fleet), ready=True, term=1, recent_ns=0)


async def until_serving(service: Service, version: str) -> None:
    """Wait until this version has the traffic."""

    async def there() -> bool:
        return await serves(service, MODEL, version)

    await until(there)
