"""The index of the model repository: which versions there are, and what of them serves."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from changeover.controller.index import Entry
from changeover.controller.service import Service
from changeover.errors import ChangeoverError
from changeover.lifecycle.source import PLAN_FILE
from tests.controller.service_house import MODEL_FILE, Client, House
from tests.rollout.memory_fleet import Fate
from tests.rollout.stage import MODEL, until

MORE = b"\x12\x00"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, model_control="explicit")


async def rows(service: Service, *, ready: bool = False) -> dict[str, tuple[str, str]]:
    """State and reason by `model/version`."""
    return {f"{row.name}/{row.version}": (row.state, row.reason) for row in await service.loads.index(ready=ready)}


def test_a_version_through_its_life(house: House) -> None:
    """Not loaded, serving, refused, kept warm, unloaded; with `ready` only what serves."""

    async def script(service: Service, _: Client) -> None:
        assert await rows(service) == {"mnist/1": ("UNAVAILABLE", "not loaded")}
        await service.loads.load(MODEL)
        assert await rows(service) == {"mnist/1": ("READY", "")}
        house.put(2, MODEL_FILE + MORE)
        with pytest.raises(ChangeoverError):
            await service.loads.load(MODEL)
        refused = ("UNAVAILABLE", "output_not_finite: the output y holds NaN")
        assert await rows(service) == {"mnist/1": ("READY", ""), "mnist/2": refused}
        house.put(3, MODEL_FILE + MORE * 2)
        await service.loads.load(MODEL)
        assert await rows(service, ready=True) == {"mnist/1": ("READY", ""), "mnist/3": ("READY", "")}
        await service.loads.unload(MODEL)
        assert await rows(service, ready=True) == {}
        assert (await rows(service))["mnist/3"] == ("UNAVAILABLE", "unloaded")

    house.fleet.fates["2"] = Fate.FAILS
    house.put(1)
    house.run(script)


def test_a_version_that_loads_and_one_that_is_gone(house: House) -> None:
    """A candidate is loading until a table names it; what serves without a folder says so."""

    async def script(service: Service, _: Client) -> None:
        await service.loads.load(MODEL)
        shutil.rmtree(house.repository / MODEL / "1")
        assert await service.loads.index(ready=False) == [
            Entry(MODEL, "1", "READY", "its folder is no longer in the repository; it serves on")
        ]
        house.put(2, MODEL_FILE + MORE)
        (house.repository / MODEL / PLAN_FILE).write_text("rollout: {steps: [50%]}\n")
        seen: list[dict[str, tuple[str, str]]] = []
        house.fleet.fates["2"] = Fate.SILENT
        loading = asyncio.create_task(service.loads.load(MODEL))
        await until(lambda: service.drivers.known(MODEL).candidate is not None)
        seen.append(await rows(service))
        assert seen[0]["mnist/2"] == ("LOADING", "")
        with pytest.raises(ChangeoverError):
            await loading
        assert (await rows(service))["mnist/2"][0] == "UNAVAILABLE"

    house.put(1)
    house.run(script)
