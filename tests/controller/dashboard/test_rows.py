"""What the dashboard's reader may do, as the control port tells it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from changeover.access import Guard, Scope, guard_of
from changeover.controller.callers import checked
from changeover.controller.dashboard.rows import endpoints

INFER, READ, ADMIN = "infer-0123456789abcdef", "read-0123456789abcdef", "admin-0123456789abcdef"
ROWS = {row.path: row for row in endpoints()}


@pytest.fixture
def guard(tmp_path: Path) -> Guard | None:
    """Three tokens, one a scope."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"infer {INFER}\nread {READ}\nadmin {ADMIN}\n")
    tokens.chmod(0o600)
    return guard_of(str(tokens), None)


def told(guard: Guard | None, token: str = "", *, certified: bool = False) -> dict[str, Any]:
    """What `GET /v1/access` answers."""
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    request = Request({"type": "http", "method": "GET", "headers": headers, "state": {}})
    answer = asyncio.run(checked(ROWS["/v1/access"], guard, certified)(request))  # type: ignore[arg-type]
    found: dict[str, Any] = json.loads(bytes(answer.body))
    return found


def test_everybody_may_read_the_files() -> None:
    """They say nothing of the server; what they ask for is looked at then."""
    assert {row.scope for row in ROWS.values()} == {Scope.OPEN}


def test_the_dashboard_is_at_the_root_too() -> None:
    """Who types only host and port sees it: its files are named relative to the page."""
    request = Request({"type": "http", "method": "GET", "headers": []})
    pages = [asyncio.run(checked(ROWS[path], guard_of(None, None), False)(request)) for path in ("/", "/ui")]
    assert bytes(pages[0].body) == bytes(pages[1].body)
    assert b'"ui/app.js"' in bytes(pages[0].body)


def test_without_a_guard_everybody_may_do_everything() -> None:
    """And the page needs no token."""
    assert told(None) == {"guarded": False, "scopes": ["read", "admin"]}


def test_a_token_is_told_its_scopes(guard: Guard | None) -> None:
    """Who may command may look; who is unknown may nothing."""
    assert told(guard) == {"guarded": True, "scopes": []}
    assert told(guard, "stray-0123456789abcdef")["scopes"] == []
    assert told(guard, INFER)["scopes"] == ["infer"]
    assert told(guard, READ)["scopes"] == ["read"]
    assert told(guard, ADMIN)["scopes"] == ["admin", "read"]


def test_a_certificate_counts_as_the_guard_says(guard: Guard | None) -> None:
    """With a token file it is good for inferences only."""
    assert told(guard, certified=True)["scopes"] == ["infer"]
    assert told(guard, READ, certified=True)["scopes"] == ["infer", "read"]
    assert told(guard_of(None, "ca.pem"), certified=True)["scopes"] == ["admin", "infer", "read"]
