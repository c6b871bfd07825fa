"""Loads and unloads by name, with a fleet in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event, Semaphore

import pytest

from changeover.controller.overrides import Overrides, overrides_of
from changeover.controller.process import _file_threads
from changeover.controller.service import Service
from changeover.errors import ChangeoverError, Conflict, InvalidRequest, NotFound
from changeover.lifecycle import seal
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.source import CONFIG_FILE, PLAN_FILE
from changeover.testing import INSTANT
from tests.controller.service_house import MODEL_FILE, Client, House, serves
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import MODEL, until

MORE = b"\x12\x00"

SEQUENCE = INSTANT + "sequence:\n  state: [{input: x, output: y}]\n"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, model_control="explicit")


def test_a_load_takes_the_highest_of_the_repository(house: House) -> None:
    """It serves when the call is over; the same again changes nothing; a newer one is a changeover."""

    async def script(service: Service, _: Client) -> None:
        assert await service.loads.load(MODEL) == ()
        assert await serves(service, MODEL, "2")
        await service.loads.load(MODEL)
        assert len(await service.steering.of(MODEL)) == 1
        house.put(3, MODEL_FILE + MORE * 3)
        await service.loads.load(MODEL)
        shown = await service.model(MODEL)
        assert (shown["active"], shown["standby"]) == ("3", "2")

    house.put(1)
    house.put(2, MODEL_FILE + MORE)
    house.run(script)
    assert not house.fleet.broken


def test_a_load_sees_that_the_plan_has_changed(house: House) -> None:
    """Other options and other sequences are a changeover of the same bytes; the same ones change nothing."""

    async def script(service: Service, _: Client) -> None:
        rollouts = []
        for text in (SEQUENCE, SEQUENCE, SEQUENCE + "  idle: 9s\n", SEQUENCE + "  idle: 9s\nruntime: {max_batch: 4}\n"):
            plan.write_text(text)
            await service.loads.load(MODEL)
            rollouts.append(len(await service.steering.of(MODEL)))
        assert rollouts == [1, 1, 2, 3]
        active = service.drivers.by_model[MODEL].active
        assert active is not None
        assert active.plan.sequence is not None
        assert (active.version, active.plan.sequence.idle, active.plan.runtime.max_batch) == (1, 9.0, 4)

    house.put(1)
    plan = house.repository / MODEL / PLAN_FILE
    house.run(script)
    assert not house.fleet.broken


def test_a_load_takes_what_the_version_policy_names(house: House) -> None:
    """The highest of those, unless the call names another; a policy that names nothing there is told."""

    async def script(service: Service, _: Client) -> None:
        await service.loads.load(MODEL)
        assert await serves(service, MODEL, "2")
        await service.loads.load(MODEL, Overrides(version=3))
        assert await serves(service, MODEL, "3")
        config.write_text("version_policy { specific { versions: [7] } }")
        with pytest.raises(NotFound, match="names 7") as caught:
            await service.loads.load(MODEL)
        assert caught.value.reason == "version_not_found"

    for version in (1, 2, 3):
        house.put(version, MODEL_FILE + MORE * version)
    config = house.repository / MODEL / CONFIG_FILE
    config.write_text("version_policy { specific { versions: [1, 2] } }")
    house.run(script)


def test_a_version_that_is_refused(house: House) -> None:
    """The caller hears why, and what served serves on."""

    async def script(service: Service, _: Client) -> None:
        await service.loads.load(MODEL)
        house.put(2, MODEL_FILE + MORE)
        with pytest.raises(InvalidRequest, match="holds NaN") as caught:
            await service.loads.load(MODEL)
        assert caught.value.reason == "output_not_finite"
        assert await serves(service, MODEL, "1")

    house.fleet.fates["2"] = Fate.FAILS
    house.put(1)
    house.run(script)


def test_an_unload_gives_everything_back(house: House) -> None:
    """Also the version kept warm; a load brings the model again, and so does nothing else, a restart included."""

    async def first(service: Service, _: Client) -> None:
        await service.loads.load(MODEL)
        house.put(2, MODEL_FILE + MORE)
        await service.loads.load(MODEL)
        assert len(house.fleet.alive) == 2
        await service.loads.unload(MODEL)
        assert not house.fleet.alive
        shown = await service.model(MODEL)
        assert (shown["active"], shown["standby"], shown["state"]) == (None, None, "unavailable")
        await service.loads.unload(MODEL)

    async def unloaded(service: Service, _: Client) -> None:
        await service.taken_over.wait()
        assert service.drivers.serving() == []
        await service.loads.load(MODEL)
        assert await serves(service, MODEL, "2")

    house.put(1)
    house.run(first)
    house.fleet = MemoryFleet()
    house.run(unloaded)
    assert not house.fleet.broken


def test_an_unload_ends_what_is_under_way(house: House) -> None:
    """A rollout at a step goes back and a queued one is passed over, before the model goes."""

    async def script(service: Service, _: Client) -> None:
        await service.loads.load(MODEL)
        (house.repository / MODEL / PLAN_FILE).write_text("rollout: {steps: [50%]}\n")
        loads = []
        for version in (2, 3):
            house_file = house.repository / MODEL / str(version)
            house_file.mkdir()
            (house_file / "model.onnx").write_bytes(MODEL_FILE + MORE * version)
            loads.append(asyncio.create_task(service.loads.load(MODEL)))
            await until(lambda version=version: f"{MODEL}/{version}" in house.serving())
        await service.loads.unload(MODEL)
        refused = await asyncio.gather(*loads, return_exceptions=True)
        assert [getattr(error, "reason", None) for error in refused] == ["unloaded", "unloaded"]
        assert house.serving() == {"mnist/1": "succeeded", "mnist/2": "rolled_back", "mnist/3": "rolled_back"}
        assert not house.fleet.alive

    house.put(1)
    house.run(script)
    assert not house.fleet.broken


def test_a_load_comes_with_its_files(house: House) -> None:
    """They are all there is of that version; options of the config count, what has no effect is named."""

    async def script(service: Service, _: Client) -> None:
        (house.repository / "other").mkdir()
        (house.repository / "other" / PLAN_FILE).write_text(INSTANT)
        config = '{"max_batch_size": 4, "optimization": {"graph": {"level": 1}}}'
        asked = overrides_of("other", {"config": config, "file:5/model.onnx": MODEL_FILE})
        assert await service.loads.load("other", asked) == ("optimization: it has no effect here",)
        active = service.drivers.known("other").active
        assert active is not None
        assert (active.version, active.plan.runtime.max_batch) == (5, 4)
        asked = overrides_of("other", {"config": '{"max_batch_size": 8}'})
        await service.loads.load("other", asked)
        again = service.drivers.known("other").active
        assert again is not None
        assert (again.version, again.digest, again.plan.runtime.max_batch) == (5, active.digest, 8)

    house.run(script)
    assert not house.fleet.broken


def test_loads_that_cannot_be(house: House) -> None:
    """No such model, no such version, no name, a rollout that waits for people; an unload of what nobody knows."""

    async def script(service: Service, _: Client) -> None:
        async def reason(call: object) -> str:
            with pytest.raises(ChangeoverError) as caught:
                await call  # type: ignore[misc]
            return f"{type(caught.value).__name__} {caught.value.reason}"

        assert await reason(service.loads.load("none")) == "NotFound model_not_found"
        (sentence,) = await service.loads.unload("none")
        assert "unknown model 'none'" in sentence
        assert await reason(service.loads.load("../up")) == "InvalidRequest invalid_name"
        assert await service.loads.unload(MODEL) == ()
        await service.loads.load(MODEL)
        assert await reason(service.loads.load(MODEL, Overrides(9))) == "NotFound version_not_found"
        house.put(2, MODEL_FILE + MORE)
        (house.repository / MODEL / PLAN_FILE).write_text("rollout: {strategy: manual}\n")
        assert await reason(service.loads.load(MODEL)) == "Conflict rollout_paused"

    house.put(1)
    house.run(script)


def test_a_load_waits_for_its_folder(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is being written; what never gets whole is told."""
    monkeypatch.setattr("changeover.controller.loads._PATIENCE", 0.3)

    async def script(service: Service, _: Client) -> None:
        with (house.repository / MODEL / "1" / "model.onnx").open("ab"), pytest.raises(Conflict) as caught:
            await service.loads.load(MODEL)
        assert caught.value.reason == "not_settled"
        await service.loads.load(MODEL)
        assert await serves(service, MODEL, "1")

    house.put(1)
    house.run(script)


@pytest.mark.parametrize("names", ["mnist,absent", "*"])
def test_what_is_loaded_at_the_start(tmp_path: Path, names: str) -> None:
    """By name, or all; a name that nobody knows does not keep the server from starting."""
    house = House(tmp_path, model_control="explicit", load_model=names)

    async def script(service: Service, _: Client) -> None:
        assert service.drivers.serving() == ([MODEL, "other"] if names == "*" else [MODEL])
        with pytest.raises(NotFound):
            service.drivers.known("absent")

    house.put(1)
    house.put(1, name="other")
    house.run(script)


def test_large_versions_leave_the_control_plane_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While more are copied than there are threads for files, others are told what serves."""
    begun, end, really = Semaphore(0), Event(), seal.seal_folder

    def seal_folder(folder: Path, store: Path) -> Artifact:
        if folder.parent.name != MODEL:
            begun.release()
            assert end.wait(20)
        return really(folder, store)

    monkeypatch.setattr(seal, "seal_folder", seal_folder)

    async def script(service: Service, _: Client) -> None:
        asyncio.get_running_loop().set_default_executor(_file_threads())
        await service.loads.load(MODEL)
        loads = [asyncio.create_task(service.loads.load(f"large-{n}")) for n in range(6)]
        try:
            for _ in range(2):
                assert await asyncio.to_thread(begun.acquire, timeout=10)
            async with asyncio.timeout(5):
                assert (await service.steering.status(MODEL)).phase == "succeeded"
            assert not any(load.done() for load in loads)
        finally:
            end.set()
        await asyncio.gather(*loads)
        assert len(service.drivers.serving()) == 7

    house.put(1)
    for number in range(6):
        house.put(1, name=f"large-{number}")
    house.run(script)
