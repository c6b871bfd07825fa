"""What people ask of rollouts, with a fleet in memory."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from changeover.controller import apart
from changeover.controller.service import Service
from changeover.controller.steering import buckets_of, merged, version_asked
from changeover.errors import InvalidPlan, InvalidRequest
from changeover.rollout.plan import parse_plan
from tests.controller.service_house import Client, House, serves
from tests.lifecycle.onnx_files import linear
from tests.rollout.stage import MODEL, PATIENCE, until

FIRST, SECOND = (linear().SerializeToString() + b"\x12\x00" * n for n in (1, 2))
PATH = f"/v1/models/{MODEL}/rollout"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A service whose repository has one version."""
    made = House(tmp_path)
    made.put(1, FIRST)
    return made


async def start(client: Client, **body: Any) -> tuple[int, Any]:
    """Ask for a rollout."""
    answer = await client.call("POST", PATH, json.dumps(body).encode())
    return answer.status, answer.json()


async def has_ended(service: Service, rollout: str) -> bool:
    """Whether it is decided for good."""
    return (await service.steering.by_id(rollout)).ended is not None


def test_back_to_an_older_version_and_forward(house: House) -> None:
    """A version that the journal knows is rolled out again from its sealed copy, with fields of a plan over its own."""

    async def script(service: Service, client: Client) -> None:
        await client.call("POST", f"/v1/models/{MODEL}/versions", SECOND, "version=2")
        await until(lambda: serves(service, MODEL, "2"))
        status, told = await start(client, version="1", plan={"rollout": {"undo_window": 0}})
        assert (status, told["to"]["version"], told["from"]["version"]) == (202, "1", "2")
        await until(lambda: serves(service, MODEL, "1"))
        await until(lambda: has_ended(service, told["id"]))
        ended = (await client.call("GET", f"/v1/rollouts/{told['id']}")).json()
        assert (ended["phase"], ended["undo_until"]) == ("succeeded", None)  # its own window would last minutes
        assert (await start(client, version="2", plan={}))[0] == 202

    house.run(script)


def test_what_cannot_be_started(house: House) -> None:
    """Each with its status and reason, and without a rollout."""

    async def script(service: Service, client: Client) -> None:
        await until(lambda: serves(service, MODEL, "1"))
        digest = (await service.model(MODEL))["versions"][0]["digest"]
        refused = [
            (await start(client, version="1"), 409, "already_active"),
            (await start(client, version=f"1@{digest[:6]}"), 409, "already_active"),
            (await start(client, version="7"), 404, "version_not_found"),
            (await start(client, version="1@ffffff"), 404, "version_not_found"),
            (await start(client, version="new"), 400, "invalid_version"),
            (await start(client, plan={}), 400, "invalid_request"),
            (await start(client, version="1", pace="fast"), 400, "invalid_request"),
            (await start(client, version="1", plan={"rollout": {"undo_windw": 1}}), 400, "invalid_plan"),
        ]
        for (status, told), expected, reason in refused:
            assert (status, told["reason"]) == (expected, reason), told
        assert "1@" in refused[2][0][1]["error"]  # the versions that there are
        nobody = await client.call("POST", "/v1/models/nobody/rollout", b'{"version": 1}')
        assert (nobody.status, nobody.json()["reason"]) == (404, "model_not_found")
        text = await client.call("POST", PATH, b"version: 1")
        assert (text.status, text.json()["reason"]) == (400, "malformed_json")
        assert len((await client.call("GET", f"{PATH}s")).json()["rollouts"]) == 1

    house.run(script)


def test_a_version_that_does_not_start_by_itself(house: House) -> None:
    """`auto: false` is for this: the version waits in the repository until somebody starts it."""
    house.put(2, SECOND, "patient")
    (house.repository / "patient" / "model.yaml").write_text("rollout: {strategy: instant, auto: false}\n")

    async def script(service: Service, client: Client) -> None:
        await until(lambda: serves(service, MODEL, "1"))
        asked = await client.call("POST", "/v1/models/patient/rollout", b'{"version": 2}')
        assert asked.status == 202, asked.json()
        await until(lambda: serves(service, "patient", "2"))

    house.run(script)


def test_a_version_that_was_removed_is_taken_from_the_repository(house: House) -> None:
    """As long as nobody is writing it."""

    async def script(service: Service, client: Client) -> None:
        await client.call("POST", f"/v1/models/{MODEL}/versions", SECOND, "version=2")
        await until(lambda: serves(service, MODEL, "2"))
        (sealed,) = [v["digest"] for v in (await service.model(MODEL))["versions"] if v["version"] == "1"]
        folder = house.stage.store / sealed
        for place in [folder, *folder.rglob("*")]:
            place.chmod(0o755)
        shutil.rmtree(folder)
        assert (await start(client, version="1"))[0] == 202
        await until(lambda: serves(service, MODEL, "1"))

    house.run(script)


def test_what_is_being_written_is_not_taken(house: House) -> None:
    """A folder has to be still for as long as the watch wants it to be; a copied time says nothing."""

    async def script(service: Service, client: Client) -> None:
        await until(lambda: serves(service, MODEL, "1"))
        object.__setattr__(house.stage.settings, "settle", 60.0)
        house.put(2, SECOND)
        os.utime(house.repository / MODEL / "2" / "model.onnx", (1_000_000_000, 1_000_000_000))
        status, told = await start(client, version="2")
        assert (status, told["reason"]) == (409, "not_settled")

    house.run(script)


def test_what_is_not_there_waits_for_no_copies(house: House) -> None:
    """Large versions are being sealed, as many as may be at once: an unknown one is refused all the same."""

    async def script(service: Service, client: Client) -> None:
        await until(lambda: serves(service, MODEL, "1"))
        done = threading.Event()
        copies = [asyncio.create_task(apart.sealed_apart(done.wait, PATIENCE)) for _ in range(apart._AT_ONCE)]
        try:
            status, told = await asyncio.wait_for(start(client, version="99"), PATIENCE / 3)
        finally:
            done.set()
            await asyncio.gather(*copies)
        assert (status, told["reason"]) == (404, "version_not_found")

    house.run(script)


def test_explanations_and_lists(house: House) -> None:
    """By id, and newest first."""

    async def script(service: Service, client: Client) -> None:
        await until(lambda: serves(service, MODEL, "1"))
        rollout = (await client.call("GET", PATH)).json()
        told = (await client.call("GET", f"/v1/rollouts/{rollout['id']}/explain")).json()
        assert told["rollout"] == rollout["id"]
        assert told["sentences"][0].startswith(f"Rollout {rollout['id']} of {MODEL} from nothing to 1@")
        listed = (await client.call("GET", f"{PATH}s")).json()["rollouts"]
        assert [one["id"] for one in listed] == [rollout["id"]]
        assert "plan" not in listed[0]

    house.run(script)


@pytest.mark.parametrize(
    ("asked", "found"), [("4", (4, "")), (4, (4, "")), ("4@ab12", (4, "ab12")), ("2147483647", (2147483647, ""))]
)
def test_versions_that_can_be_asked_for(asked: str | int, found: tuple[int, str]) -> None:
    """By number, or with the beginning of the digest as `status` shows it."""
    assert version_asked(asked) == found


@pytest.mark.parametrize("asked", ["", "0", "-1", "4@", "4@xyz", "four", "²", "99999999999", "4@AB12"])
def test_versions_that_cannot(asked: str) -> None:
    """With a sentence that shows one."""
    with pytest.raises(InvalidRequest, match="4@ab12"):
        version_asked(asked)


@pytest.mark.parametrize(
    ("share", "buckets"), [("25%", 2500), ("0.01%", 1), ("0%", 0), ("100%", 10_000), (0.125, 1250), (1, 10_000), (0, 0)]
)
def test_shares(share: str | float, buckets: int) -> None:
    """As in a plan: with a percent sign, or as a fraction of one."""
    assert buckets_of(share) == buckets


@pytest.mark.parametrize("share", ["101%", "-1%", "0.001%", "25", 25, 1.5, "", "half", float("nan")])
def test_no_shares(share: str | float) -> None:
    """Nothing is guessed: 25 might mean 25 % or 25 times everything."""
    with pytest.raises(InvalidRequest) as caught:
        buckets_of(share)
    assert caught.value.reason == "invalid_weight"


def test_fields_count_over_a_plan() -> None:
    """What is not named stays, a list counts as a whole, and what is wrong is refused by name."""
    plan = parse_plan("rollout: {strategy: canary, steps: [1%, 5%], hold: 1m}\nruntime: {max_batch: 8}\n")
    made = merged(plan, {"rollout": {"steps": ["shadow", "50%"], "limits": {"error_rate": "2%"}}})
    assert [step.name for step in made.rollout.steps] == ["shadow", "50%"]
    assert (made.rollout.hold, made.rollout.limits.error_rate, made.runtime.max_batch) == (60.0, 0.02, 8)
    assert made.rollout.limits.latency_increase == plan.rollout.limits.latency_increase
    assert merged(plan, {}) is plan
    with pytest.raises(InvalidPlan, match=r"plan: rollout.hodl: there is no such field"):
        merged(plan, {"rollout": {"hodl": 1}})
