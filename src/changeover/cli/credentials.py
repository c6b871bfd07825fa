"""Where the command line takes a token and certificates from: never from itself, for `ps` shows those."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from changeover.access import Scope, read_secret
from changeover.cli.exits import Usage
from changeover.client.credentials import Credentials
from changeover.errors import InvalidRequest

_SENDABLE = re.compile(r"[!-~]+")


class Address(str):
    """The URL of a server, with what to show there."""

    __slots__ = ("credentials",)

    credentials: Credentials

    def __new__(cls, url: str, credentials: Credentials) -> Address:
        """A text that carries them along."""
        made = super().__new__(cls, url)
        made.credentials = credentials
        return made


def token_for(scope: Scope, token_file: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token to send: `CHANGEOVER_TOKEN`, else the first one of the file that has the scope, else none.

    Raises:
        Usage: the file cannot be used, or the variable holds what cannot be sent. The token itself is never repeated.
    """
    token = environment.get("CHANGEOVER_TOKEN")
    if token:
        if not _SENDABLE.fullmatch(token):
            raise Usage("CHANGEOVER_TOKEN has characters that no token has, such as a space or a line's end")
        return token
    if token_file is None:
        return None
    try:
        return read_secret(token_file, scope)
    except InvalidRequest as error:
        raise Usage(error.message) from None
