"""Who may use the control port of a server that asks for no token."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from changeover import access
from changeover.access import Scope, guard_of
from changeover.controller.callers import checked
from changeover.controller.endpoint import Endpoint
from changeover.testing import Server, exchange
from tests.guarded import write_tokens


def test_a_page_of_another_site_commands_nothing(shared_server: Server) -> None:
    """A browser sends where a page came from and what it was asked as; our own pages and programs pass."""
    port, path = shared_server.control_port, "/v1/models/double/rollout/undo"
    for origin in ("http://elsewhere.example", "null"):
        answer = exchange(port, "POST", path, b"", {"origin": origin, "content-type": "text/plain"})
        assert (answer.status, answer.json()["reason"]) == (403, "foreign_origin")
    rebound = {"host": f"rebound.example:{port}", "origin": f"http://rebound.example:{port}"}
    for method, asked in (("POST", path), ("GET", "/v1/models"), ("GET", "/v1/health")):
        answer = exchange(port, method, asked, b"", rebound)
        assert (answer.status, answer.json()["reason"]) == (403, "foreign_host")
    assert exchange(port, "GET", "/v1/models", headers={"origin": f"http://127.0.0.1:{port}"}).status == 200
    assert exchange(port, "GET", "/v1/models", headers={"host": "localhost:1"}).status == 200


def test_a_long_answer_may_ask_again_whether_its_caller_still_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is taken out of the file while the answer goes on."""
    monkeypatch.setattr(access, "_LOOK_SECONDS", 0.0)
    tokens, token = tmp_path / "tokens", "read-0123456789abcdef"
    write_tokens(tokens, f"read {token}\nadmin admin-0123456789abcdef\n")
    seen: list[bool] = []

    async def long(request: Request) -> Response:
        seen.append(request.state.allowed())
        write_tokens(tokens, "admin admin-0123456789abcdef\n")
        seen.append(request.state.allowed())
        return Response()

    answer = checked(Endpoint("GET", "/", Scope.READ, long, "A test."), guard_of(str(tokens), None), certified=False)
    headers = [(b"authorization", f"Bearer {token}".encode())]
    asyncio.run(answer(Request({"type": "http", "method": "GET", "path": "/", "headers": headers})))  # type: ignore[arg-type]
    assert seen == [True, False]
