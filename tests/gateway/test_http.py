"""Paths, methods and status codes of the inference port."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.http import FIXED, OF_A_MODEL, OF_A_REGION, OF_THE_REPOSITORY, Route, route
from changeover.transport.control import Prepare, RoutingTable, encode
from changeover.transport.link import Kind
from changeover.transport.page import TableRecord
from tests.gateway.extended import ask, http_app
from tests.gateway.stage import WORD, Stage, entry, question, stage


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v2", Route(FIXED["/v2"])),
        ("/v2/", Route(FIXED["/v2"])),
        ("/v2/health/live", Route(FIXED["/v2/health/live"])),
        ("/v2/health/ready", Route(FIXED["/v2/health/ready"])),
        ("/v2/models/m", Route(OF_A_MODEL[""], "m")),
        ("/v2/models/m/ready", Route(OF_A_MODEL["ready"], "m")),
        ("/v2/models/m/infer", Route(OF_A_MODEL["infer"], "m")),
        ("/v2/models/stats", Route(FIXED["/v2/models/stats"])),
        ("/v2/models/m/stats", Route(OF_A_MODEL["stats"], "m")),
        ("/v2/models/m/versions/4/stats", Route(OF_A_MODEL["stats"], "m", "4")),
        ("/v2/models/m/versions/4", Route(OF_A_MODEL[""], "m", "4")),
        ("/v2/models/m/versions/4/ready", Route(OF_A_MODEL["ready"], "m", "4")),
        ("/v2/models/m/versions/4/infer", Route(OF_A_MODEL["infer"], "m", "4")),
        ("/v2/repository/index", Route(FIXED["/v2/repository/index"])),
        ("/v2/repository/models/m/load", Route(OF_THE_REPOSITORY["load"], "m")),
        ("/v2/repository/models/m/unload", Route(OF_THE_REPOSITORY["unload"], "m")),
        ("/v2/repository/models/m", None),
        ("/v2/repository/models//load", None),
        ("/v2/repository/models/m/load/more", None),
        ("/v2/repository/models/m/drop", None),
        ("/v2/models//infer", None),
        ("/v2/models/m/versions", None),
        ("/v2/models/m/versions//infer", None),
        ("/v2/models/m/infer/more", None),
        ("/v2/models/m/trace/setting", Route(OF_A_MODEL["trace/setting"], "m")),
        ("/v2/models/m/trace", None),
        ("/v2/systemsharedmemory/region/r/register", Route(OF_A_REGION["systemsharedmemory/register"], region="r")),
        ("/v2/cudasharedmemory/region/r/status", Route(OF_A_REGION["cudasharedmemory/status"], region="r")),
        ("/v2/systemsharedmemory/region//status", None),
        ("/v2/systemsharedmemory/region/r/more", None),
        ("/v2/othersharedmemory/region/r/status", None),
        ("/v2/models/m/other", None),
        ("/v2/health", None),
        ("/", None),
        ("", None),
    ],
)
def test_paths_mean_what_the_protocol_says(path: str, found: Route | None) -> None:
    """And nothing else is a path."""
    assert route(path) == found


@given(st.text(max_size=60))
def test_any_text_is_a_path_or_none(path: str) -> None:
    """No path makes the router fail."""
    found = route(path)
    assert found is None or found.endpoint.what


def in_stage(check: Any, **options: Any) -> None:
    """Run a check with a stage that serves two versions."""

    async def scenario() -> None:
        async with stage(**options) as here:
            here.serve(1, entry(7, "10"), entry(8, "9"))
            check(here)

    asyncio.run(scenario())


def test_metadata_lists_versions_by_number() -> None:
    """9 comes before 10; a named version tells of itself only."""

    def check(here: Stage) -> None:
        told = ask(here, "GET", "/v2/models/m").json()
        assert told["versions"] == ["9", "10"]
        assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
        assert ask(here, "GET", "/v2/models/m/versions/9").json()["versions"] == ["9"]
        assert ask(here, "GET", "/v2/models/m/versions/11").status == 404

    in_stage(check)


def test_server_readiness_is_the_pages_word() -> None:
    """The server is live before, and ready only when its first load is over."""

    def check(here: Stage) -> None:
        assert ask(here, "GET", "/v2/health/live").status == 200
        assert ask(here, "GET", "/v2/health/ready").status == 503
        here.page.store(0, 1)
        assert ask(here, "GET", "/v2/health/ready").json() == {"ready": True}

    in_stage(check)


def test_a_model_without_a_worker_is_not_ready() -> None:
    """While its worker is being replaced the model says so, and is still known."""

    def check(here: Stage) -> None:
        assert ask(here, "GET", "/v2/models/m/ready").status == 200
        here.models.targets[7].batcher.on_loss([], [], None)
        assert ask(here, "GET", "/v2/models/m/ready").status == 503
        assert ask(here, "GET", "/v2/models/m/versions/9/ready").status == 200

    in_stage(check)


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m"])
def test_health_is_answered_under_overload(path: str) -> None:
    """It takes no place in a queue."""

    def check(here: Stage) -> None:
        here.page.store(0, 1)
        for _ in range(5):
            here.ask(question())
        assert here.ask(question()).status == 503
        assert ask(here, "GET", path).status == 200

    in_stage(check, queue_limit=5)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/m/infer", b"allow: POST"),
        ("POST", "/v2", b"allow: GET, HEAD"),
        ("PUT", "/v2/models/m", b"allow"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(method: str, path: str, allowed: bytes) -> None:
    """405 with `allow`."""

    def check(here: Stage) -> None:
        request = ask(here, method, path)
        assert request.status == 405
        assert allowed in request.head

    in_stage(check)


def test_every_endpoint_has_a_handler() -> None:
    """What the tables list is answered, and what is answered is listed."""

    def check(here: Stage) -> None:
        every = [*FIXED.values(), *OF_A_MODEL.values(), *OF_A_REGION.values(), *OF_THE_REPOSITORY.values()]
        assert set(http_app(here)._handlers) == {endpoint.what for endpoint in every} - {"infer"}

    in_stage(check)


def test_an_unloaded_model() -> None:
    """It is not ready, not listed, and takes no request: it is known, and loads no more by waiting."""

    def check(here: Stage) -> None:
        empty = RoutingTable("m", WORD, 2, [], [], 0)
        here.store.append(TableRecord(WORD, 2, 1, encode(empty)), here.page.words)
        here.models.on_prepare(Prepare(WORD, [2]))
        here.commit(2)
        assert here.heard(Kind.PREPARED)[-1]["error"] is None
        assert here.heard(Kind.ACKNOWLEDGED)[-1]["epoch"] == 2
        unready = ask(here, "GET", "/v2/models/m/ready")
        assert (unready.status, unready.json()["reason"]) == (400, "model_unloaded")
        assert ask(here, "GET", "/v2/models").json() == {"models": []}
        assert ask(here, "GET", "/v2/models/stats").json() == {"model_stats": []}
        for refused in (ask(here, "GET", "/v2/models/m"), here.ask(question()), here.ask(question())):
            assert (refused.status, refused.json()["reason"]) == (404, "model_unloaded")
        assert here.models.targets == {}
        here.serve(3, entry(9, "11"))
        assert ask(here, "GET", "/v2/models/m/ready").status == 200

    in_stage(check)


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/v2/models/n/ready", 400, "model_not_found"),
        ("/v2/models/m/versions/8/ready", 400, "version_not_found"),
        ("/v2/models/n/stats", 400, "model_not_found"),
        ("/v2/models/n/trace/setting", 400, "model_not_found"),
        ("/v2/models/n", 404, "model_not_found"),
        ("/v2/models/n/config", 404, "model_not_found"),
    ],
)
def test_readiness_statistics_and_settings_of_nobody_are_a_mistake(path: str, status: int, reason: str) -> None:
    """As Triton has it; what else is asked of nobody is not found. Before the first load is over all is 503."""

    def check(here: Stage) -> None:
        if "/n" in path:
            assert ask(here, "GET", path).status == 503
        here.page.store(0, 1)
        request = ask(here, "GET", path)
        assert (request.status, request.json()["reason"]) == (status, reason)

    in_stage(check)


@pytest.mark.parametrize("last", ["generate", "generate_stream"])
def test_no_model_generates(last: str) -> None:
    """A sentence says so of each that is known."""

    def check(here: Stage) -> None:
        here.page.store(0, 1)
        told = [ask(here, "POST", f"/v2/models/{name}/{last}", body=b"{}") for name in "mn"]
        assert [(one.status, one.json()["reason"]) for one in told] == [
            (400, "no_generation"), (404, "model_not_found"),
        ]  # fmt: skip

    in_stage(check)
