"""Who may use the control port of a server that asks for no token."""

from __future__ import annotations

import pytest

from changeover.controller.callers import _check_local
from changeover.errors import Forbidden
from changeover.testing import Server, exchange


@pytest.mark.parametrize(
    "host",
    [
        None, "localhost", "localhost:8002", "LOCALHOST:8002", "127.0.0.1", "127.0.0.1:9", "127.1.2.3:8002", "[::1]",
        "[::1]:8002",
    ],
)  # fmt: skip
def test_this_machines_own_names_pass(host: str | None) -> None:
    """With any port, since connections may be forwarded; a program may leave the header out."""
    assert _check_local(host, None) is None
    assert _check_local(host, None if host is None else f"http://{host}") is None


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example", "rebound.example:8002", "localhost.rebound.example", "127.0.0.1.rebound.example",
        "10.0.0.1:8002", "0.0.0.0:8002", "[fe80::1]:8002", "[::1", "", ":8002", "localhost@rebound.example",
        "rebound.example#@localhost",
    ],
)  # fmt: skip
def test_other_names_are_refused(host: str) -> None:
    """Even where the page's origin is that very name: so it looks when DNS was made to point here."""
    for origin in (None, f"http://{host}"):
        with pytest.raises(Forbidden) as caught:
            _check_local(host, origin)
        assert caught.value.reason == "foreign_host"


@pytest.mark.parametrize(
    "origin", ["http://elsewhere.example", "null", "http://localhost:8003", "http://127.0.0.1:8002"]
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    """Another port of this machine is another origin too."""
    with pytest.raises(Forbidden) as caught:
        _check_local("localhost:8002", origin)
    assert caught.value.reason == "foreign_origin"


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
