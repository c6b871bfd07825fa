"""What was removed, half removed or left over when a controller starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.controller.service import Service
from changeover.lifecycle import artifacts, seal
from tests.controller.service_house import MODEL_FILE, Client, House, serves
from tests.controller.sweeping import deployed, made_house, removals, sealed
from tests.rollout.stage import MODEL, until


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return made_house(tmp_path, monkeypatch)


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
