"""The service between API, repository and drivers, with a fleet in memory."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import quote

import pytest

from changeover.controller.api import status_of
from changeover.controller.service import Service
from changeover.errors import (
    ChangeoverError,
    Conflict,
    Internal,
    InvalidPlan,
    InvalidRequest,
    ModelRejected,
    NotFound,
    Overloaded,
    TooLarge,
)
from changeover.lifecycle.source import PLAN_FILE
from changeover.testing import INSTANT
from changeover.transport.page import SERVER_WORD
from tests.controller.service_house import MODEL_FILE, Client, House, is_watching, serves
from tests.rollout.memory_fleet import Fate, MemoryFleet
from tests.rollout.stage import MODEL, until


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_the_first_start_takes_the_highest(house: House) -> None:
    """Of each model one version is rolled out, the others are known, and then the server is ready."""

    async def script(service: Service, _: Client) -> None:
        assert house.serving() == {"mnist/3": "succeeded", "other/7": "succeeded"}
        assert [m["name"] for m in await service.models()] == ["mnist", "other"]
        assert [row["version"] for row in (await service.model("mnist"))["versions"]] == ["3", "2", "1"]

    for version in (1, 2, 3):
        house.put(version, MODEL_FILE + b"\x12\x00" * version)
    house.put(7, name="other")
    house.run(script)
    assert not house.fleet.broken


def test_the_highest_fails_at_the_first_start(house: House) -> None:
    """The next lower one serves."""

    async def script(service: Service, _: Client) -> None:
        assert house.serving() == {"mnist/3": "failed", "mnist/2": "succeeded"}
        assert (await service.model("mnist"))["active"] == "2"

    house.fleet.fates["3"] = Fate.FAILS
    for version in (1, 2, 3):
        house.put(version)
    house.run(script)


def test_a_refusal_that_cannot_be_recorded(house: House) -> None:
    """A full disk and a folder that is no version: the controller lives, and takes the next one when it can."""

    async def script(service: Service, _: Client) -> None:
        house.journal.fail()
        writes = house.journal.writes
        bad = house.repository / MODEL / "2"
        bad.mkdir()
        (bad / "model.onnx").symlink_to("/dev/null")
        house.put(3)
        await until(lambda: house.journal.writes >= writes + 2)
        house.journal.heal()
        house.put(4)
        await until(lambda: serves(service, MODEL, "4"))
        assert house.serving()[f"{MODEL}/4"] in ("promoting", "watching", "succeeded")

    house.put(1)
    house.run(script)


def test_a_restart_finds_what_was_chosen(house: House) -> None:
    """A newer version in the repository that failed does not serve, nor is it tried again."""

    async def first(service: Service, _: Client) -> None:
        house.fleet.fates["2"] = Fate.FAILS
        house.put(2)
        await until(lambda: house.serving().get("mnist/2") == "failed")

    async def second(service: Service, _: Client) -> None:
        assert (await service.model(MODEL))["active"] == "1"
        assert len(await service.steering.of(MODEL)) == 2
        assert (await service.model(MODEL))["versions"][0]["reason"] == "output_not_finite"

    house.put(1)
    house.run(first)
    house.fleet = MemoryFleet()
    house.run(second)


def test_a_body_without_anything(house: House) -> None:
    """It is refused before a version number is taken."""

    async def script(_: Service, client: Client) -> None:
        answer = await client.call("POST", "/v1/models/mnist/versions")
        assert (answer.status, answer.json()["reason"]) == (400, "empty_body")
        assert house.journal.versions.next_number(MODEL) == 1

    house.run(script)


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "", "2147483648", "99999999999999999999", "٣", "1e3"])
def test_versions_that_are_no_numbers(house: House, version: str) -> None:
    """Only whole positive numbers that fit everywhere are versions."""

    async def script(_: Service, client: Client) -> None:
        answer = await client.call("POST", "/v1/models/mnist/versions", MODEL_FILE, f"version={quote(version)}")
        assert (answer.status, answer.json()["reason"]) == (400, "invalid_version")

    house.run(script)


def test_a_push_and_its_undo(house: House) -> None:
    """Numbers rise by themselves; an undo answers with the rollout that was taken back."""
    (house.repository / "fresh").mkdir()
    (house.repository / "fresh" / PLAN_FILE).write_text(INSTANT)

    async def script(service: Service, client: Client) -> None:
        for number in ("1", "2"):
            body = MODEL_FILE + b"\x12\x00" * int(number)
            pushed = (await client.call("POST", "/v1/models/fresh/versions", body)).json()
            assert (pushed["model"], pushed["version"]) == ("fresh", number)
            await until(lambda: serves(service, "fresh", number))  # noqa: B023
        await until(lambda: is_watching(service, "fresh"))
        undone = await client.call("POST", "/v1/models/fresh/rollout/undo")
        assert (undone.status, undone.json()["phase"], undone.json()["to"]["version"]) == (200, "rolled_back", "2")
        assert (await service.model("fresh"))["active"] == "1"
        again = await client.call("POST", "/v1/models/fresh/rollout/undo")
        assert (again.status, again.json()["reason"]) == (409, "no_standby")

    house.run(script)


def test_a_push_that_is_not_wanted_any_more(house: House) -> None:
    """That is asked once all is sealed, before anything is recorded."""

    async def script(service: Service, _: Client) -> None:
        with pytest.raises(Conflict) as caught:
            await service.push(MODEL, None, io.BytesIO(MODEL_FILE + b"\x12\x00"), tar=False, unless=lambda: True)
        assert caught.value.reason == "rollout_under_way"
        assert house.journal.versions.next_number(MODEL) == 2

    house.put(1)
    house.run(script)


def test_a_name_that_is_none(house: House) -> None:
    """Neither sealed nor known afterwards."""

    async def script(service: Service, _: Client) -> None:
        with pytest.raises(InvalidRequest) as caught:
            await service.push("../up", None, io.BytesIO(MODEL_FILE), tar=False)
        assert caught.value.reason == "invalid_name"
        assert await service.models() == []

    house.run(script)


@pytest.mark.parametrize(
    ("path", "method", "status", "reason"),
    [
        ("/v1/nothing", "GET", 404, "path_not_found"),
        ("/v1/models", "POST", 405, "method_not_allowed"),
        ("/v1/models/nobody", "GET", 404, "model_not_found"),
        ("/v1/rollouts/r-000001", "GET", 404, "rollout_not_found"),
        ("/v1/rollouts/nonsense/certificate", "GET", 404, "rollout_not_found"),
    ],
)
def test_errors_are_json(house: House, path: str, method: str, status: int, reason: str) -> None:
    """Paths and methods that do not exist too."""

    async def script(_: Service, client: Client) -> None:
        answer = await client.call(method, path)
        assert answer.headers[b"content-type"] == b"application/json"
        assert (answer.status, answer.json()["reason"]) == (status, reason)
        assert answer.json()["error"]

    house.run(script)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("x"), 400),
        (InvalidPlan("x"), 400),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (TooLarge("x"), 413),
        (ModelRejected("x"), 422),
        (Overloaded("x"), 503),
        (Internal("x"), 503),
    ],
)
def test_whose_fault_it_is(error: ChangeoverError, status: int) -> None:
    """The caller's are 4xx, the model's 422, the server's 503."""
    assert status_of(error) == status


def test_one_model_too_many_is_never_recorded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before the journal knows it; one that the journal knows all the same costs the others nothing."""

    async def first(service: Service, client: Client) -> None:
        monkeypatch.setattr("changeover.controller.words.WORDS", SERVER_WORD + 2)
        answer = await client.call("POST", "/v1/models/other/versions", MODEL_FILE + b"\x12\x00")
        assert (answer.status, answer.json()["reason"]) == (400, "too_many_models")
        house.put(1, name="third")
        await until(lambda: house.serving().get("third/1") is None and "third" not in house.journal.versions.models())
        house.journal.versions.add("zebra", 1, "0" * 64, "push")

    async def second(service: Service, _: Client) -> None:
        await service.taken_over.wait()
        assert await serves(service, MODEL, "1")

    house.put(1)
    house.run(first)
    house.run(second)


def test_leftovers_that_cannot_be_deleted_stay(house: House) -> None:
    """A mount's own folder among the pushes on their way does not keep the server from its work."""
    (house.stage.settings.state / "incoming" / "lost+found").mkdir(parents=True)

    async def script(service: Service, _: Client) -> None:
        assert await serves(service, MODEL, "1")

    house.put(1)
    house.run(script)
