"""Which names are this machine's own, and which pages."""

from __future__ import annotations

import pytest

from changeover.errors import Forbidden
from changeover.loopback import check_local, is_loopback


@pytest.mark.parametrize(
    "host",
    [
        None, "localhost", "localhost:8002", "LOCALHOST:8002", "127.0.0.1", "127.0.0.1:9", "127.1.2.3:8002", "[::1]",
        "[::1]:8002",
    ],
)  # fmt: skip
def test_this_machines_own_names_pass(host: str | None) -> None:
    """With any port, since connections may be forwarded; a program may leave the header out."""
    assert check_local(host, None) is None
    assert check_local(host, None if host is None else f"http://{host}") is None


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
            check_local(host, origin)
        assert caught.value.reason == "foreign_host"


@pytest.mark.parametrize(
    "origin", ["http://elsewhere.example", "null", "http://localhost:8003", "http://127.0.0.1:8002", "http://[", ""]
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    """Another port of this machine is another origin too."""
    with pytest.raises(Forbidden) as caught:
        check_local("localhost:8002", origin)
    assert caught.value.reason == "foreign_origin"


@pytest.mark.parametrize(
    ("host", "own"), [("localhost", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False)]
)
def test_addresses(host: str, own: bool) -> None:
    """Names other than `localhost` are not looked up."""
    assert is_loopback(host) is own
    assert not is_loopback(host + ".example")
