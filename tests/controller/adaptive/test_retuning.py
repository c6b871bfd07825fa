"""From a tuning to a push: samples where there may be some, and no push of what nobody serves any more."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest

from changeover.controller.adaptive import retuning, tuner
from changeover.controller.adaptive.retuning import Retuning
from changeover.controller.adaptive.tuner import Outcome, Subject
from changeover.controller.recent import Archive
from changeover.errors import Conflict
from changeover.rollout.driver import Driver
from changeover.rollout.machine import Phase
from changeover.rollout.plan import Plan
from changeover.rollout.plan_adaptive import AdaptivePlan
from changeover.settings import Settings


class House:
    """A model that is tuned, with what happens meanwhile."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.subjects: list[Subject] = []
        self.pushed: list[list[str]] = []
        self.state = "pushed"
        self.begins: SimpleNamespace | None = None
        self.archive: Archive | Conflict = Archive(b"npz", 30, 20, 0)
        active = SimpleNamespace(artifact="artifact", plan=Plan())
        self.driver = SimpleNamespace(model="m", active=active, current=None, queue=SimpleNamespace(waits=False))
        (folder / "incoming").mkdir(parents=True)
        monkeypatch.setattr(tuner, "tune", self._tune)
        settings = Settings(state_dir=str(folder), repository=str(folder / "models"), custom_ops="/ops")
        self.retuning = Retuning(settings, push=self._push, samples=self._samples)

    async def _tune(self, subject: Subject, _: AdaptivePlan, room: Path) -> Outcome:
        self.subjects.append(subject)
        if self.state != "pushed":
            return Outcome(self.state, "as it is")
        version = room / "version"
        (version / "golden").mkdir(parents=True)
        for name in ("model.onnx", "model.yaml", "golden/a.npz", "README.md"):
            (version / name).write_bytes(b"x")
        return Outcome("pushed", "faster", version)

    async def _push(
        self, model: str, version: int | None, source: IO[bytes], *, tar: bool, unless: Callable[[], bool]
    ) -> dict[str, Any]:
        assert (model, version, tar, unless()) == ("m", None, True, False)
        self.driver.current = self.begins
        if unless():
            raise Conflict("another rollout has begun meanwhile", reason="rollout_under_way")
        with tarfile.open(fileobj=source) as members:
            self.pushed.append(sorted(members.getnames()))
        return {"version": "5", "rollout": "r-000001"}

    async def _samples(self, name: str) -> Archive:
        assert name == "m"
        if isinstance(self.archive, Conflict):
            raise self.archive
        return self.archive

    def run(self) -> tuple[str, str, dict[str, Any]]:
        return asyncio.run(self.retuning.retune(cast(Driver, self.driver), AdaptivePlan()))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "state", monkeypatch)


def test_what_is_better_is_pushed(house: House) -> None:
    """All that belongs to a version, as the next one; nothing stays on the disk."""
    (house.folder / "models" / "m" / "golden").mkdir(parents=True)
    assert house.run() == ("pushed", "faster", {"version": "5", "rollout": "r-000001"})
    assert house.pushed == [["golden/a.npz", "model.onnx", "model.yaml"]]
    assert (house.subjects[0].requests, house.subjects[0].golden) == (b"npz", house.folder / "models/m/golden")
    assert house.subjects[0].custom_ops == Path("/ops")
    assert list((house.folder / "incoming").iterdir()) == []


def test_without_requests(house: House) -> None:
    """Of a private model there are none, and of a new one neither; nor is there a golden set."""
    for archive in (Conflict("private", reason="samples_private"), Archive(b"empty", 0, 0, 0)):
        house.archive = archive
        house.run()
    assert [(one.requests, one.golden) for one in house.subjects] == [(b"", None)] * 2


@pytest.mark.parametrize("state", ["kept", "failed"])
def test_nothing_better(house: House, state: str) -> None:
    """Nothing is pushed."""
    house.state = state
    assert house.run() == (state, "as it is", {})
    assert house.pushed == []


def test_another_version_serves_by_now(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tuned is not pushed over it; nor is anything tuned where nothing serves."""
    made = house._tune

    async def slow(subject: Subject, adaptive: AdaptivePlan, room: Path) -> Outcome:
        house.driver.active = SimpleNamespace(artifact="another", plan=Plan())
        return await made(subject, adaptive, room)

    monkeypatch.setattr(retuning.tuner, "tune", slow)
    assert house.run()[:2] == ("failed", "another version serves by now")
    house.driver.active = None
    assert house.run()[:2] == ("failed", "no version serves any more")
    assert house.pushed == []


@pytest.mark.parametrize(
    ("phase", "state"), [("validating", "failed"), ("watching", "failed"), ("succeeded", "pushed")]
)
def test_another_rollout_has_begun(house: House, monkeypatch: pytest.MonkeyPatch, phase: str, state: str) -> None:
    """A push would wait in the queue, and then replace what operators have just promoted by the weights from before."""
    made = house._tune

    async def slow(subject: Subject, adaptive: AdaptivePlan, room: Path) -> Outcome:
        house.driver.current = SimpleNamespace(rollout=SimpleNamespace(phase=Phase(phase)))
        return await made(subject, adaptive, room)

    monkeypatch.setattr(retuning.tuner, "tune", slow)
    assert house.run()[0] == state
    assert len(house.pushed) == (state == "pushed")


def test_another_version_waits_for_its_turn(house: House) -> None:
    """It is on record, and nothing is under way yet: the tuned version would come after it."""
    house.driver.queue.waits = True
    assert house.run()[:2] == ("failed", "another rollout has begun meanwhile")
    assert house.pushed == []


def test_a_rollout_begins_while_it_is_packed_and_sealed(house: House) -> None:
    """It is asked for again when the push is to be recorded, and the push refused."""
    house.begins = SimpleNamespace(rollout=SimpleNamespace(phase=Phase.VALIDATING))
    with pytest.raises(Conflict) as caught:
        house.run()
    assert (caught.value.reason, house.pushed) == ("rollout_under_way", [])
