"""Who may use the control port of a server that asks for no token."""

from __future__ import annotations

from changeover.testing import Server, exchange


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
