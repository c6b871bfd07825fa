"""Who may ask what of the inference port, and which bodies are taken in for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from changeover.access import Guard, Scope, guard_of
from changeover.gateway.http import FIXED, OF_A_MODEL, OF_A_REGION, OF_THE_REPOSITORY, Endpoint
from tests.gateway.extended import ask, http_app
from tests.gateway.stage import Request, Stage, entry, stage


def in_stage(check: Any, **options: Any) -> None:
    """Run a check with a stage that serves two versions."""

    async def scenario() -> None:
        async with stage(**options) as here:
            here.serve(1, entry(7, "10"), entry(8, "9"))
            check(here)

    asyncio.run(scenario())


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
