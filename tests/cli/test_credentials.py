"""Where a token comes from, and a URL that carries it."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.access import Scope
from changeover.cli.credentials import Address, token_for
from changeover.cli.exits import Usage
from changeover.client.credentials import Credentials

SECRET = "infer-0123456789abcdef"  # noqa: S105 - of this test


def test_an_address_is_its_url() -> None:
    """With the credentials beside it."""
    address = Address("https://host:1", Credentials(SECRET))
    assert address == "https://host:1"
    assert address.credentials.token == SECRET
    assert SECRET not in repr(address)


@pytest.mark.parametrize("token", ["two words", f"{SECRET}\n", "ä" * 20])
def test_a_token_that_cannot_be_sent_is_refused_unseen(token: str) -> None:
    """The sentence names the variable only."""
    with pytest.raises(Usage, match="CHANGEOVER_TOKEN has characters") as refused:
        token_for(Scope.INFER, None, {"CHANGEOVER_TOKEN": token})
    assert token.strip() not in str(refused.value)


def test_where_a_token_comes_from(tmp_path: Path) -> None:
    """The variable, the file, nowhere; a file that cannot be used is a mistake of the command line."""
    path = tmp_path / "tokens"
    path.write_text(f"infer {SECRET}")
    path.chmod(0o600)
    assert token_for(Scope.INFER, str(path), {"CHANGEOVER_TOKEN": "x"}) == "x"
    assert token_for(Scope.INFER, str(path), {"CHANGEOVER_TOKEN": ""}) == SECRET
    assert token_for(Scope.INFER, None, {}) is None
    with pytest.raises(Usage, match="no token with the scope admin"):
        token_for(Scope.ADMIN, str(path), {})
    path.chmod(0o644)
    with pytest.raises(Usage, match="chmod 600"):
        token_for(Scope.INFER, str(path), {})
