"""What a client shows and trusts: tokens that are never printed, certificates that fit, addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.client.ask import InvalidClient
from changeover.client.credentials import Credentials, checked
from tests.certificates import Authority

SECRET = "infer-0123456789abcdef"  # noqa: S105 - of this test


def test_a_token_is_a_header_and_no_text() -> None:
    """What prints credentials prints no token."""
    credentials = Credentials(SECRET)
    assert credentials.headers == {"authorization": f"Bearer {SECRET}"}
    assert SECRET not in repr(credentials)
    assert Credentials().headers == {}


def test_a_port_may_have_its_own_token() -> None:
    """One token for both, or another one for the control port; a name that nobody knows is refused."""
    assert [one.token for one in Credentials.both({"token": "a"})] == ["a", "a"]
    assert [one.token for one in Credentials.both({"token": "a", "control_token": "b"})] == ["a", "b"]
    with pytest.raises(InvalidClient, match="nobody knows cacerts"):
        Credentials.both({"cacerts": "x"})  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://[::1", "http://h:99999", "http://h:x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """By the name of the argument; a slash at the end does not matter."""
    with pytest.raises(InvalidClient, match=r"^control: "):
        checked(url, "control")
    assert checked("https://host:1/", "url") == "https://host:1"


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """By the option that named them."""
    pair = Authority(tmp_path).issue("client")
    junk = tmp_path / "junk"
    junk.write_text("nothing")
    Credentials(client_cert=str(pair.cert), client_key=str(pair.key)).tls()
    for credentials, words in (
        (Credentials(cacert="missing"), "cacert: missing"),
        (Credentials(cacert=str(junk)), "cacert"),
        (Credentials(client_cert=str(pair.cert), client_key="missing"), "client-cert, client-key"),
        (Credentials(client_cert=str(junk)), "client-cert, client-key"),
    ):
        with pytest.raises(InvalidClient, match=words):
            credentials.tls()
