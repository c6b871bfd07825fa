"""Paths, methods and status codes of the inference port."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.access import Guard, Scope, guard_of
from changeover.errors import (
    ChangeoverError,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Internal,
    InvalidRequest,
    ModelNotReady,
    ModelRunFailed,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from changeover.gateway.answers import error_answer, infer_head, status_of
from changeover.gateway.http import FIXED, OF_A_MODEL, OF_A_REGION, OF_THE_REPOSITORY, Endpoint, Route, route
from changeover.transport.control import Prepare, RoutingTable, encode
from changeover.transport.link import Kind
from changeover.transport.page import TableRecord
from tests.gateway.extended import ask, http_app
from tests.gateway.stage import WORD, Request, Stage, entry, question, stage


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


EVERY_PATH = [
    *((path, endpoint) for path, endpoint in FIXED.items()),
    *((f"/v2/models/m/{last}".rstrip("/"), endpoint) for last, endpoint in OF_A_MODEL.items()),
    *((f"/v2/models/m/versions/9/{last}".rstrip("/"), endpoint) for last, endpoint in OF_A_MODEL.items()),
    *((f"/v2/{key.replace('/', '/region/r/')}", endpoint) for key, endpoint in OF_A_REGION.items()),
    *((f"/v2/repository/models/m/{last}", endpoint) for last, endpoint in OF_THE_REPOSITORY.items()),
]


@pytest.mark.parametrize(("path", "endpoint"), EVERY_PATH, ids=lambda value: value if isinstance(value, str) else "")
def test_every_route_asks_for_its_scope(path: str, endpoint: Endpoint, tmp_path: Path) -> None:
    """All rows of the table, and there is no other way in: without a token only the open ones are answered."""
    tokens = tmp_path / "tokens"
    tokens.write_text("infer 0123456789abcdef-infer\nadmin 0123456789abcdef-admin\n")
    tokens.chmod(0o600)
    guard = guard_of(str(tokens), "ca")
    assert endpoint.posted in (None, Scope.ADMIN)
    assert (endpoint.scope is Scope.ADMIN) == path.startswith("/v2/repository/models/")
    assert (endpoint.scope is Scope.OPEN) == (path.startswith("/v2/health/") or path in ("/openapi.json", "/docs"))
    mine, other = ("admin", "infer") if endpoint.scope is Scope.ADMIN else ("infer", "admin")

    def check(here: Stage) -> None:
        here.page.store(0, 1)
        nobody = ask(here, endpoint.method, path, guard)
        wrong = ask(
            here, endpoint.method, path, guard, headers={b"authorization": b"Bearer 0123456789abcdef-" + other.encode()}
        )
        right = ask(
            here, endpoint.method, path, guard, headers={b"authorization": b"Bearer 0123456789abcdef-" + mine.encode()}
        )
        shown = ask(here, endpoint.method, path, guard, certified=True)
        if endpoint.scope is Scope.OPEN:
            assert [nobody.status, wrong.status] == [200, 200]
        else:
            assert (nobody.status, nobody.json()["reason"]) == (401, "unauthenticated")
            assert b"www-authenticate: Bearer\r\n" in nobody.head
            assert (wrong.status, wrong.json()["reason"]) == (403, "forbidden")
            assert f"cdef-{other}".encode() not in wrong.answer
        # An inference without a body is the caller's mistake, told by the one behind the guard.
        # What the controller is asked for is not answered here; a certificate infers, and is no operator's.
        assert right.status in (200, 400, 404, 0)
        assert shown.status in ((403, 401) if endpoint.scope is Scope.ADMIN else (200, 400, 404, 0))
        if endpoint.posted is not None:
            for token, status in ((b"infer", 403), (b"admin", 200)):
                held = {b"authorization": b"Bearer 0123456789abcdef-" + token}
                assert ask(here, "POST", path, guard, headers=held).status == status

    in_stage(check)


def admit(here: Stage, method: str, path: str, length: bytes | None, guard: Guard | None = None) -> Request:
    """A request whose body is still to come."""
    fields = {b"transfer-encoding": b"chunked"} if length is None else {b"content-length": length}
    request = Request(b"", fields, method, path)
    http_app(here, guard).admit(request)  # type: ignore[arg-type]
    return request


@pytest.mark.parametrize(("path", "endpoint"), EVERY_PATH, ids=lambda value: value if isinstance(value, str) else "")
def test_no_route_takes_a_large_body_from_nobody(path: str, endpoint: Endpoint) -> None:
    """With a guard and no token, every route answers before the body: it may not be asked, or it takes none."""

    def check(here: Stage) -> None:
        guarded = admit(here, endpoint.method, path, b"70000", Guard(None, frozenset()))
        assert guarded.status == (413 if endpoint.scope is Scope.OPEN else 401)
        assert admit(here, endpoint.method, path, b"70000").status == (
            0 if endpoint.what in ("infer", "repository_load") else 413
        )

    in_stage(check)


@pytest.mark.parametrize(
    ("method", "path", "length", "status", "reason"),
    [
        ("POST", "/v2/models/m/infer", b"70000", 0, ""),
        ("POST", "/v2/models/m/infer", None, 0, ""),
        ("GET", "/v2/health/live", b"65536", 0, ""),
        ("GET", "/v2/health/live", b"65537", 413, "unexpected_body"),
        ("GET", "/v2/health/live", None, 413, "unexpected_body"),
        ("POST", "/v2/nothing", b"70000", 404, "path_not_found"),
        ("PUT", "/v2/models/m/infer", b"70000", 405, "method_not_allowed"),
        ("POST", "/v2/models/m", b"70000", 405, "method_not_allowed"),
    ],
)
def test_what_needs_no_body_is_answered_before_it(
    method: str, path: str, length: bytes | None, status: int, reason: str
) -> None:
    """A body is let in where an inference will read it, or where it is small; 0 stands for no answer yet."""

    def check(here: Stage) -> None:
        request = admit(here, method, path, length)
        assert request.status == status
        assert not status or request.json()["reason"] == reason

    in_stage(check)


def test_every_endpoint_has_a_handler() -> None:
    """What the tables list is answered, and what is answered is listed."""

    def check(here: Stage) -> None:
        every = [*FIXED.values(), *OF_A_MODEL.values(), *OF_A_REGION.values(), *OF_THE_REPOSITORY.values()]
        assert set(http_app(here)._handlers) == {endpoint.what for endpoint in every} - {"infer"}

    in_stage(check)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("x"), 400),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (TooLarge("x"), 413),
        (ModelRunFailed("x"), 500),
        (Internal("x"), 500),
        (Overloaded("x"), 503),
        (Unavailable("x"), 503),
        (ModelNotReady("x"), 503),
        (DeadlineExceeded("x"), 504),
    ],
)
def test_the_error_tree_has_its_status_codes(error: ChangeoverError, status: int) -> None:
    """And every answer carries sentence, reason, and for 503 a time."""
    request = Request(b"")
    error_answer(request, error, epoch=3)  # type: ignore[arg-type]
    assert status_of(error) == request.status == status
    assert request.json() == {"error": "x", "reason": error.reason}
    assert (b"retry-after: 1\r\n" in request.head) == isinstance(error, Overloaded | ModelNotReady)
    assert b"changeover-epoch: 3\r\n" in request.head


def test_the_head_tells_json_from_binary() -> None:
    """By content type and the length of the JSON part."""
    assert infer_head(None, 4) == b"content-type: application/json\r\nchangeover-epoch: 4\r\n"
    assert b"application/octet-stream\r\ninference-header-content-length: 77\r\n" in infer_head(77, 4)


def test_an_unloaded_model() -> None:
    """It is not ready, not listed, and takes no request: it is known, and loads no more by waiting."""

    def check(here: Stage) -> None:
        empty = RoutingTable("m", WORD, 2, [], [], 0)
        here.store.append(TableRecord(WORD, 2, 1, encode(empty)), here.page.words)
        here.models.on_prepare(Prepare(WORD, [2]))
        here.commit(2)
        assert here.heard(Kind.PREPARED)[-1]["error"] is None
        assert here.heard(Kind.ACKNOWLEDGED)[-1]["epoch"] == 2
        assert ask(here, "GET", "/v2/models/m/ready").status == 400
        assert ask(here, "GET", "/v2/models").json() == {"models": []}
        assert ask(here, "GET", "/v2/models/stats").json() == {"model_stats": []}
        for refused in (ask(here, "GET", "/v2/models/m"), here.ask(question()), here.ask(question())):
            assert (refused.status, refused.json()["reason"]) == (404, "model_unloaded")
        assert here.models.targets == {}
        here.serve(3, entry(9, "11"))
        assert ask(here, "GET", "/v2/models/m/ready").status == 200

    in_stage(check)
