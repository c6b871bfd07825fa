"""What a client shows to a server, and which servers it trusts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TypedDict
from urllib.parse import urlsplit

from changeover.client.ask import InvalidClient


class Access(TypedDict, total=False):
    """What a client shows and trusts; all of it may be left out.

    Attributes:
        token: for both ports.
        control_token: for the control port, where it is another one.
        cacert: CA of the servers' certificates, a PEM file; the system's without it.
        client_cert: PEM file of a client certificate.
        client_key: PEM file of its key.
    """

    token: str
    control_token: str
    cacert: str
    client_cert: str
    client_key: str


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

    @classmethod
    def both(cls, access: Access) -> tuple[Credentials, Credentials]:
        """Those for the inference port, and those for the control port.

        Raises:
            InvalidClient: something is named that nobody knows.
        """
        unknown = set(access) - set(Access.__annotations__)
        if unknown:
            raise InvalidClient(
                f"nobody knows {', '.join(sorted(unknown))}; there is {', '.join(Access.__annotations__)}"
            )
        files = {name: access.get(name) for name in ("cacert", "client_cert", "client_key")}
        token = access.get("token")
        return cls(token, **files), cls(access.get("control_token", token), **files)  # type: ignore[arg-type]

    @property
    def headers(self) -> dict[str, str]:
        """Fields of every request."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}

    def tls(self) -> ssl.SSLContext:
        """The context for https.

        Raises:
            InvalidClient: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.cacert)
        except (OSError, ssl.SSLError) as error:
            raise InvalidClient(
                f"cacert: {self.cacert} is no CA certificate that can be read ({_why(error)})"
            ) from None
        if self.client_cert is not None:
            try:
                context.load_cert_chain(self.client_cert, self.client_key, password="")
            except (OSError, ssl.SSLError) as error:
                raise InvalidClient(f"client-cert, client-key: no certificate and its key ({_why(error)})") from None
        return context


def checked(url: str, what: str) -> str:
    """The address of a server, without a slash at its end.

    Args:
        url: `http://host:port` or `https://host:port`.
        what: names it in the sentence.

    Raises:
        InvalidClient: it is none.
    """
    if not _is_address(url):
        raise InvalidClient(f"{what}: {url!r} is no address such as http://127.0.0.1:8000")
    return url.rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half a bracket, or no port
        return False


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not in PEM form").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
