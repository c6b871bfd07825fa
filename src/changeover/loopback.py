"""This machine's own names and pages: who may command a server that asks nobody for a token.

Such a server listens on loopback only. That keeps other machines out, but not the pages that a browser on this machine
shows: one of another site can send requests here, and when that site's name is made to mean 127.0.0.1 (DNS rebinding)
the browser even lets it read the answers. Both are told by what every browser sends.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from changeover.errors import Forbidden


def is_loopback(host: str) -> bool:
    """Whether a name or address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_local(host: str | None, origin: str | None) -> None:
    """Let programs and the server's own pages pass.

    Args:
        host: the `Host` header of the request, with any port: connections may be forwarded.
        origin: its `Origin` header. A program may leave out both.

    Raises:
        Forbidden: it was asked by another machine's name, or by another site's page (reasons `foreign_host`,
            `foreign_origin`).
    """
    if host is not None and not _names_loopback(host):
        raise Forbidden(
            f"this is asked of localhost or 127.0.0.1, not of {host!r}; to be asked by other names the server needs a "
            "--token-file",
            reason="foreign_host",
        )
    if origin is not None and _place(origin) != host:
        raise Forbidden(f"a page from {origin} may not ask this", reason="foreign_origin")


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""  # half a bracket


def _names_loopback(host: str) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False  # half a bracket
