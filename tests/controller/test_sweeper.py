"""What is removed, when, and what a sick disk leaves of it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path

import pytest

from changeover.controller import sweeper
from changeover.controller.service import Service
from changeover.lifecycle import artifacts
from tests.controller.service_house import MODEL_FILE, Client, House, proves, serves
from tests.controller.sweeping import deployed, made_house, pushed, removals, sealed
from tests.rollout.memory_fleet import Fate
from tests.rollout.stage import MODEL, until


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return made_house(tmp_path, monkeypatch)


def test_only_what_is_kept_is_left(house: House) -> None:
    """Eight pushes, two kept: the active one and its standby; history, certificates and undo are as before."""

    async def script(service: Service, client: Client) -> None:
        digests = [await deployed(service, client, number) for number in range(1, 9)]
        await until(lambda: sealed(house) == set(digests[-2:]))
        states = {row["version"]: row["state"] for row in (await service.model(MODEL))["versions"]}
        assert [states[str(n)] for n in range(1, 9)] == ["removed"] * 6 + ["ready"] * 2
        assert len(await service.steering.of(MODEL)) == 8
        assert (await client.call("POST", f"/v1/models/{MODEL}/rollout/undo")).json()["phase"] == "rolled_back"
        assert (await service.model(MODEL))["active"] == "7"
        told = [str(n) for n in range(1, 7)]
        await until(lambda: sorted(str(e.body["version"]) for e in removals(house)) == told)

    house.run(script)


def test_a_removed_version_comes_again(house: House) -> None:
    """The same number with the same bytes: it is sealed again, serves, and is kept now."""

    async def script(service: Service, client: Client) -> None:
        digests = [await deployed(service, client, number) for number in range(1, 5)]
        await until(lambda: digests[0] not in sealed(house))
        body = MODEL_FILE + b"\x12\x00"
        again = (await client.call("POST", f"/v1/models/{MODEL}/versions", body, "version=1")).json()
        assert again["digest"] == digests[0]
        await until(lambda: serves(service, MODEL, "1"))
        await until(lambda: sealed(house) == {digests[0], digests[3]})

    house.run(script)


def test_refused_versions_count_apart(house: House) -> None:
    """Bad pushes do not cost a good version its place, and the newest two of them are kept."""

    async def script(service: Service, client: Client) -> None:
        good = [await deployed(service, client, number) for number in (1, 2)]
        house.fleet.fates.update({str(n): Fate.FAILS for n in range(3, 7)})
        bad = [await pushed(client, number) for number in range(3, 7)]
        await until(lambda: sealed(house) == {*good, *bad[-2:]})
        assert (await service.model(MODEL))["active"] == "2"

    house.run(script)


def test_a_push_on_its_way_is_not_an_orphan(house: House) -> None:
    """Between the sealing and the record nothing is removed; an orphan of a killed controller is."""
    orphan = house.stage.artifact(77).digest

    async def script(service: Service, client: Client) -> None:
        async with service._sweeper.arriving():
            service._sweeper.wanted.set()
            await asyncio.sleep(0.2)
            assert orphan in sealed(house)
        await until(lambda: orphan not in sealed(house))

    house.run(script)


def test_a_sick_disk_stops_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be removed stays and is tried again; the others go, also when that cannot be recorded."""
    stubborn: list[str] = []
    really = artifacts.remove

    def remove(store: Path, digest: str) -> None:
        if digest in stubborn:
            raise OSError(5, "Input/output error")
        really(store, digest)

    async def script(service: Service, client: Client) -> None:
        monkeypatch.setattr(artifacts, "remove", remove)
        stubborn.append(await deployed(service, client, 1))
        others = [await deployed(service, client, number) for number in (2, 3, 4)]
        await until(lambda: sealed(house) == {stubborn[0], *others[1:]})
        house.journal.fail()
        stubborn.clear()
        service._sweeper.wanted.set()
        await until(lambda: sealed(house) == set(others[1:]))
        house.journal.heal()
        assert (await service.model(MODEL))["active"] == "4"

    house.run(script)


def test_the_cache_is_trimmed(house: House) -> None:
    """After a rollout's end, to its limit."""
    cache = house.stage.folder / "cache"
    cache.mkdir()

    async def script(service: Service, client: Client) -> None:
        for letter in "ab":
            (cache / f"{letter * 40}.onnx").write_bytes(bytes(60))
        os.utime(cache / f"{'a' * 40}.onnx", (1, 1))
        await deployed(service, client, 1)
        await until(lambda: not (cache / f"{'a' * 40}.onnx").exists())
        assert (cache / f"{'b' * 40}.onnx").exists()

    house.run(script)


def test_it_waits_for_a_calm_moment_but_not_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a version loads nothing is removed; after the most that is waited it is, except for what is loading."""
    orphan = house.stage.artifact(77).digest

    async def script(service: Service, client: Client) -> None:
        active = await deployed(service, client, 1)
        await until(lambda: orphan not in sealed(house))
        house.fleet.fates["2"] = Fate.SILENT
        candidate = await pushed(client, 2)
        await until(lambda: proves(service, "2"))
        late, looks, busy = house.stage.artifact(78).digest, list[bool](), service._sweeper._busy
        monkeypatch.setattr(service._sweeper, "_busy", lambda: looks.append(late in sealed(house)) or busy())
        service._sweeper.wanted.set()
        await until(lambda: late not in sealed(house))
        assert looks == [True] * 5
        assert (await service.model(MODEL))["candidate"] == "2"
        assert sealed(house) == {active, candidate}

    house.stage.settings = dataclasses.replace(house.stage.settings, load_timeout=30.0)
    monkeypatch.setattr(sweeper, "_MOST_WAITS", 5)
    house.run(script)


def test_old_events_are_removed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay; while the journal cannot be written all do, and the next sweep makes up for it."""
    monkeypatch.setattr(sweeper, "_EVENTS", 3)

    async def script(service: Service, _: Client) -> None:
        ids = [house.journal.events.add("something_happened").id for _ in range(5)]
        house.journal.fail()
        await service._sweeper.sweep()
        assert [event.id for event in house.journal.events.after()] == ids
        house.journal.heal()
        service._sweeper.wanted.set()
        await until(lambda: [event.id for event in house.journal.events.after()] == ids[2:])

    house.run(script)
