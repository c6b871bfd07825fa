"""What a client shows to a server, and which servers it trusts. Never a part of a command line: `ps` shows those."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from changeover.access import Scope, read_secret
from changeover.cli.exits import Usage
from changeover.errors import InvalidRequest

_SENDABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token and PEM files, all optional.

    Attributes:
        cacert: CA that signed the server's certificate; None: those that the system trusts.
    """

    token: str | None = field(default=None, repr=False)
    cacert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Fields of every request."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}

    def tls(self) -> ssl.SSLContext:
        """The context for https.

        Raises:
            Usage: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.cacert)
        except (OSError, ssl.SSLError) as error:
            raise Usage(f"--cacert: {self.cacert} is no CA certificate that can be read ({_why(error)})") from None
        if self.client_cert is not None:
            try:
                context.load_cert_chain(self.client_cert, self.client_key, password="")
            except (OSError, ssl.SSLError) as error:
                raise Usage(f"--client-cert, --client-key: no certificate and its key ({_why(error)})") from None
        return context


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


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not in PEM form").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
