"""What is removed, when, and what a crash or a sick disk leaves of it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path

import pytest

from changeover.controller import sweeper
from changeover.controller.service import Service
from changeover.lifecycle import artifacts, seal
from changeover.records.events import Event
from tests.controller.service_house import MODEL_FILE, Client, House, proves, serves
from tests.rollout.memory_fleet import Fate
from tests.rollout.stage import MODEL, Stage, until

PLAN = "rollout: {strategy: instant, undo_window: 60s}\n"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """Two versions are kept, and calm comes at once."""
    monkeypatch.setattr(sweeper, "_CALM", 0.02)
    made = House(tmp_path)
    made.stage = Stage(tmp_path, repository=str(made.repository), settle=0.05, keep_versions=2, cache_limit=100)
    (made.repository / MODEL).mkdir()
    (made.repository / MODEL / "model.yaml").write_text(PLAN)
    return made


async def pushed(client: Client, number: int, name: str = MODEL) -> str:
    """Push different bytes, wait for nothing; the digest."""
    answer = await client.call("POST", f"/v1/models/{name}/versions", MODEL_FILE + b"\x12\x00" * number)
    assert answer.status == 202
    return str(answer.json()["digest"])


async def deployed(service: Service, client: Client, number: int) -> str:
    """Push, and wait until it serves."""
    digest = await pushed(client, number)
    await until(lambda: serves(service, MODEL, str(number)))
    return digest


def sealed(house: House) -> set[str]:
    return set(artifacts.digests(house.stage.store))


def removals(house: House) -> list[Event]:
    """The events that tell of a removal."""
    return [event for event in house.journal.events.after() if event.body.get("state") == "removed"]


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


def test_a_restart_loads_what_was_kept(house: House) -> None:
    """A cold machine serves the version that was chosen, from the artifact that was kept."""

    async def first(service: Service, client: Client) -> None:
        for number in range(1, 6):
            await deployed(service, client, number)
        await until(lambda: len(sealed(house)) == 2)

    async def second(service: Service, _: Client) -> None:
        assert (await service.model(MODEL))["active"] == "5"
        assert (await service.model(MODEL))["versions"][0]["state"] == "ready"

    house.run(first)
    house.fleet = type(house.fleet)()
    house.run(second)


@pytest.mark.parametrize("half", [False, True])
def test_a_kill_while_something_is_removed(house: House, monkeypatch: pytest.MonkeyPatch, half: bool) -> None:
    """Its name is gone, its files are not, or not all: the next start deletes them and serves what was chosen."""
    cut_short = []

    def begin(folder: Path) -> None:
        if folder.is_dir() and folder.name.startswith(artifacts.TEMPORARY_PREFIX):
            cut_short.append(folder)
            if half:
                os.chmod(folder, 0o700)
                (folder / artifacts.MANIFEST_FILE).unlink()

    async def first(service: Service, client: Client) -> None:
        digests = [await deployed(service, client, number) for number in (1, 2)]
        monkeypatch.setattr(artifacts, "discard", begin)
        digests.append(await deployed(service, client, 3))
        await until(lambda: bool(cut_short))
        assert sealed(house) == set(digests[1:])

    async def second(service: Service, _: Client) -> None:
        assert (await service.model(MODEL))["active"] == "3"
        assert not [name for name in os.listdir(house.stage.store) if name.startswith(artifacts.TEMPORARY_PREFIX)]

    house.run(first)
    monkeypatch.undo()
    house.fleet = type(house.fleet)()
    house.run(second)


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


def test_leftovers_of_a_dead_controller(house: House) -> None:
    """Half sealed versions, bodies of pushes, graphs that dead workers wrote: gone before anything is taken in."""
    left = [
        house.stage.store / f"{artifacts.TEMPORARY_PREFIX}half" / "files",
        house.stage.folder / "incoming" / "tmpbody",
        house.stage.folder / "cache" / f".{'a' * 40}.onnx.4194305.tmp",
    ]
    left[0].mkdir(parents=True)
    (house.stage.folder / "cache").mkdir()
    for path in left[1:]:
        path.write_bytes(b"half")

    async def script(_: Service, __: Client) -> None:
        assert not [path for path in left if path.exists()]

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


def test_what_was_removed_is_not_sealed_again_at_every_start(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six folders, two kept: a restart seals none of the removed ones, and removes nothing; new bytes are news."""

    async def first(service: Service, _: Client) -> None:
        await until(lambda: serves(service, MODEL, "6"))
        await until(lambda: len(sealed(house)) == 3)  # the active one, and two that were never tried

    async def second(service: Service, _: Client) -> None:
        assert (await service.model(MODEL))["active"] == "6"
        assert sorted(numbers) == [4, 5, 6]
        assert sealed(house) == kept
        assert len(removals(house)) == told
        house.put(2, MODEL_FILE + b"\x12\x00" * 99)
        await until(lambda: sorted(numbers) == [2, 4, 5, 6])
        assert (await service.model(MODEL))["active"] == "6"

    for number in range(1, 7):
        house.put(number, MODEL_FILE + b"\x12\x00" * number)
    house.run(first)
    kept, numbers, really = sealed(house), list[int](), seal.seal_folder
    with house.stage.journal() as journal:
        told = sum(event.body.get("state") == "removed" for event in journal.events.after())

    def counted(folder: Path, store: Path) -> artifacts.Artifact:
        numbers.append(int(folder.name))
        return really(folder, store)

    monkeypatch.setattr(seal, "seal_folder", counted)
    house.fleet = type(house.fleet)()
    house.run(second)


def test_a_removed_version_that_is_wanted_is_sealed_again(house: House) -> None:
    """Nothing serves, because its artifacts are lost: what once served is news, and comes back from its folder."""

    async def script(service: Service, _: Client) -> None:
        await until(lambda: serves(service, MODEL, "1"))

    house.put(1)
    house.run(script)
    for digest in sealed(house):
        artifacts.remove(house.stage.store, digest)
    house.fleet = type(house.fleet)()
    house.run(script)
    assert len(sealed(house)) == 1


def test_it_waits_for_a_calm_moment_but_not_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a version loads nothing is removed; after the most that is waited it is, except for what is loading."""
    orphan = house.stage.artifact(77).digest

    async def script(service: Service, client: Client) -> None:
        active = await deployed(service, client, 1)
        await until(lambda: orphan not in sealed(house))
        monkeypatch.setattr(sweeper, "_CALM", 0.4)
        house.fleet.fates["2"] = Fate.SILENT
        candidate = await pushed(client, 2)
        await until(lambda: proves(service, "2"))
        late = house.stage.artifact(78).digest
        service._sweeper.wanted.set()
        await asyncio.sleep(0.25)
        assert late in sealed(house)
        await until(lambda: late not in sealed(house))
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
