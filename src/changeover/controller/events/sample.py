"""The sample: what every model does, once a second while somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from time import time
from typing import Any, Final

import msgspec

from changeover.controller import rollout_view
from changeover.controller.fleet import Fleet
from changeover.controller.pulse import Beat
from changeover.errors import ChangeoverError
from changeover.records.journal import Journal
from changeover.records.rollouts import RolloutRecord
from changeover.rollout.driver import Driver
from changeover.rollout.loading import Loading
from changeover.rollout.tables import weight_of

_SMOOTH: Final = 2
"""Seconds that a sample looks back: a report that comes a little late must not look like a gap."""
_LONG: Final = ("history", "gates", "plan", "steps")
"""Of a rollout: what does not change each second, and is told by `GET /v1/rollouts/ID`."""


async def sample(drivers: Mapping[str, Driver], fleet: Fleet, journal: Journal) -> dict[str, Any]:
    """What all models do now."""
    present = {name: found for name, driver in drivers.items() if (found := rollout_view.present(driver)) is not None}
    records = await asyncio.to_thread(_records, journal, present) if present else {}
    models = {name: _model(driver, fleet, records.get(name)) for name, driver in sorted(drivers.items())}
    return {"type": "sample", "at": round(time(), 3), "model": None, "models": models}


def _records(journal: Journal, present: Mapping[str, str]) -> dict[str, RolloutRecord]:
    """The rollouts in hand; none of them where the journal cannot be read: a sample more or less."""
    try:
        return {model: journal.rollouts.get(rollout) for model, rollout in present.items()}
    except ChangeoverError:
        return {}


def _model(driver: Driver, fleet: Fleet, record: RolloutRecord | None) -> dict[str, Any]:
    return {"versions": _versions(driver, fleet), "rollout": _rollout(record, driver) if record else None}


def _rollout(record: RolloutRecord, driver: Driver) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(rollout_view.status(record, driver))
    return {name: value for name, value in told.items() if name not in _LONG}


def _versions(driver: Driver, fleet: Fleet) -> dict[str, Any]:
    """By number; by number and digest where two with the same number live."""
    live = list(driver.loader.live.values())
    return {name_among(loading, live): version(loading, driver, fleet) for loading in live}


def name_among(loading: Loading, live: Iterable[Loading]) -> str:
    """Its number; number and digest where another of these has the same number."""
    same = sum(other.version == loading.version for other in live)
    return str(loading.version) if same == 1 else loading.name


def version(loading: Loading, driver: Driver, fleet: Fleet) -> dict[str, Any]:
    """What one loading does."""
    table = driver.switch.table
    return {
        "role": driver.role(loading),
        "loading": str(loading.state),
        **traffic(loading, fleet),
        "memory_bytes": fleet.memory(loading.number),
        "weight": weight_of(table, loading.number) if table else 0,
    }


def traffic(loading: Loading, fleet: Fleet) -> dict[str, Any]:
    """What it answers now."""
    pulse = fleet.observatory.pulse
    return {**figures(pulse.last(loading.number, _SMOOTH)), "in_flight": pulse.in_flight(loading.number)}


def figures(beat: Beat) -> dict[str, Any]:
    """The numbers of some seconds: rates, and latency in milliseconds (None without answers)."""
    seconds = beat.seconds or 1.0
    times = {f"p{round(share * 100)}_ms": _ms(beat.quantile(share)) for share in (0.5, 0.95, 0.99)}
    rates = {"requests_per_s": round(beat.asked / seconds, 2), "errors_per_s": round(beat.failures / seconds, 3)}
    return {**rates, **times, "shed_per_s": round(beat.shed / seconds, 2)}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
