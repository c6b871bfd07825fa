"""The repository while the disk of the artifacts is full: what could not be taken is taken later, and whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.controller import follower
from changeover.controller.service import Service
from changeover.errors import Internal
from changeover.lifecycle import seal
from changeover.lifecycle.artifacts import Artifact
from tests.controller.service_house import MODEL_FILE, Client, House, knows_some, serves
from tests.rollout.stage import MODEL, until

REALLY = seal.seal_folder


class FullDisk:
    """`seal_folder` on a disk that is full until it has room."""

    def __init__(self) -> None:
        self.full = True
        self.tries = 0

    def seal_folder(self, folder: Path, store: Path) -> Artifact:
        self.tries += 1
        if self.full:
            raise Internal("The artifact store cannot be written.", reason="artifacts_unwritable")
        return REALLY(folder, store)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    made = FullDisk()
    monkeypatch.setattr(seal, "seal_folder", made.seal_folder)
    monkeypatch.setattr(follower, "_AGAIN", 0.05)
    return made


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_version_that_the_disk_did_not_take(house: House, disk: FullDisk) -> None:
    """It is tried again and again, and serves when there is room; it is no refusal."""

    async def script(service: Service, _: Client) -> None:
        await until(lambda: disk.tries >= 3)
        disk.full = False
        await until(lambda: knows_some(service))
        await until(lambda: serves(service, MODEL, "1"))
        assert house.serving() == {"mnist/1": "succeeded"}
        tries = disk.tries
        house.put(2, MODEL_FILE + b"\x12\x00")
        await until(lambda: serves(service, MODEL, "2"))
        assert disk.tries == tries + 1

    house.put(1)
    house.run(script)


def test_it_is_not_taken_half_written(house: House, disk: FullDisk) -> None:
    """While the disk was full somebody began to copy it anew: it is left alone until that is done."""
    folder = house.repository / MODEL / "1"

    async def script(service: Service, _: Client) -> None:
        await until(lambda: disk.tries >= 1)
        (folder / "model.onnx.tmp").write_bytes(MODEL_FILE[:10])
        os.unlink(folder / "model.onnx")
        disk.full, tries = False, disk.tries
        house.put(2, name="other")  # is settled later than the other would have been tried again
        await until(lambda: knows_some(service))
        assert [found["name"] for found in await service.models()] == ["other"]
        assert disk.tries == tries + 1
        (folder / "model.onnx.tmp").write_bytes(MODEL_FILE)
        os.rename(folder / "model.onnx.tmp", folder / "model.onnx")
        await until(lambda: house.serving() == {"mnist/1": "succeeded", "other/2": "succeeded"})

    house.put(1)
    house.run(script)
