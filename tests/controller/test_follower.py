"""What of the repository is taken, by the model control."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.controller import follower
from changeover.controller.service import Service
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.source import CONFIG_FILE
from changeover.rollout.plan import Plan
from changeover.settings import Settings
from tests.controller.service_house import MODEL_FILE, Client, House, serves
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import MODEL, until

MORE = b"\x12\x00"


def test_poll_takes_what_is_new_and_what_is_changed(tmp_path: Path) -> None:
    """A new number, then other bytes under it; a removed folder serves on."""
    house = House(tmp_path, model_control="poll", poll_interval=0.2)

    async def script(service: Service, _: Client) -> None:
        house.put(2, MODEL_FILE + MORE)
        await until(lambda: serves(service, MODEL, "2"))
        before = service.drivers.known(MODEL).active
        house.put(2, MODEL_FILE + MORE + MORE)
        await until(lambda: service.drivers.known(MODEL).active is not before)
        assert await serves(service, MODEL, "2")
        for path in (house.repository / MODEL / "2").iterdir():
            path.unlink()
        (house.repository / MODEL / "2").rmdir()
        house.put(1, name="other")
        await until(lambda: "other" in service.drivers.serving())
        assert await serves(service, MODEL, "2")

    house.put(1)
    house.run(script)


def test_nothing_in_the_repository_ends_the_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that leads to itself is passed over; what makes a defect show is refused, and the others are taken."""
    house = House(tmp_path, model_control="poll", poll_interval=0.2)
    really = follower.plan_for

    def plan_for(artifact: Artifact, model: str, settings: Settings) -> Plan:
        if model == "odd":
            raise ZeroDivisionError("a defect")
        return really(artifact, model, settings)

    monkeypatch.setattr(follower, "plan_for", plan_for)

    async def script(service: Service, _: Client) -> None:
        (house.repository / "loop").symlink_to("loop")
        house.put(1, name="odd")
        await until(lambda: bool(house.journal.rollouts.of("odd")))
        (refused,) = house.journal.rollouts.of("odd")
        assert (refused.phase, refused.record["reason"]) == ("failed", "internal")
        assert "a defect" in refused.record["detail"]
        house.put(1, name="other")
        await until(lambda: "other" in service.drivers.serving())

    house.put(1)
    house.run(script)


@pytest.mark.parametrize(
    "trouble", [OSError(24, "Too many open files"), MemoryError(), RuntimeError("can't start new thread")], ids=repr
)
def test_trouble_of_the_server_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """The version is tried again a moment later, and nothing is on record of the first try."""
    house = House(tmp_path, model_control="poll", poll_interval=0.2)
    really, tried = follower.plan_for, []

    def plan_for(artifact: Artifact, model: str, settings: Settings) -> Plan:
        tried.append(model)
        if len(tried) == 1:
            raise trouble
        return really(artifact, model, settings)

    monkeypatch.setattr(follower, "plan_for", plan_for)
    monkeypatch.setattr(follower, "_AGAIN", 0.05)

    async def script(service: Service, _: Client) -> None:
        await until(lambda: MODEL in service.drivers.serving())
        (only,) = house.journal.rollouts.of(MODEL)
        assert only.record.get("reason") is None

    house.put(1)
    house.run(script)


def test_a_version_policy_names_what_is_taken(tmp_path: Path) -> None:
    """The highest of those serves; a version that it does not name is not even put on record, until it does."""
    house = House(tmp_path, model_control="poll", poll_interval=0.2)

    async def script(service: Service, _: Client) -> None:
        await until(lambda: serves(service, MODEL, "2"))
        house.put(1, name="other")
        await until(lambda: "other" in service.drivers.serving())
        assert [row["version"] for row in (await service.model(MODEL))["versions"]] == ["2"]
        config.write_text("version_policy { specific { versions: [2, 4] } }")
        house.put(4, MODEL_FILE + MORE * 4)
        await until(lambda: serves(service, MODEL, "4"))

    for version in (2, 3):
        house.put(version, MODEL_FILE + MORE * version)
    config = house.repository / MODEL / CONFIG_FILE
    config.write_text("version_policy { specific { versions: [1, 2] } }")
    house.run(script)


def test_none_takes_what_lies_there_at_the_start(tmp_path: Path) -> None:
    """What comes later is not looked at, not by the next controller either, but by the next server."""
    house = House(tmp_path, model_control="none")

    async def first(service: Service, _: Client) -> None:
        assert await serves(service, MODEL, "1")
        await until(service._follower._stop.is_set)
        house.put(2, MODEL_FILE + MORE)

    async def unchanged(service: Service, _: Client) -> None:
        await service.taken_over.wait()
        assert await serves(service, MODEL, "1")
        assert [row["version"] for row in (await service.model(MODEL))["versions"]] == ["1"]

    async def anew(service: Service, _: Client) -> None:
        await until(lambda: serves(service, MODEL, "2"))

    house.put(1)
    house.run(first)
    house.run(unchanged)
    house.fleet = MemoryFleet()
    house.run(anew)


def test_none_waits_for_what_was_being_copied_at_the_start(tmp_path: Path) -> None:
    """A folder that could not be taken at first is taken when it is whole, and then nobody looks any more."""
    house = House(tmp_path, model_control="none")
    half = house.repository / "late" / "1"
    half.mkdir(parents=True)
    (half / "model.onnx.part").write_bytes(MODEL_FILE[:20])

    async def script(service: Service, _: Client) -> None:
        assert service.drivers.serving() == [MODEL]
        (half / "model.onnx.part").unlink()
        (half / "model.onnx").write_bytes(MODEL_FILE)
        await until(lambda: service.drivers.serving() == ["late", MODEL])
        await until(service._follower._stop.is_set)

    house.put(1)
    house.run(script)


def test_explicit_takes_nothing_by_itself(tmp_path: Path) -> None:
    """The server is ready at once, and knows no model of the repository."""
    house = House(tmp_path, model_control="explicit")

    async def script(service: Service, _: Client) -> None:
        assert await service.models() == []

    house.put(1)
    house.run(script)
    assert not house.fleet.alive
