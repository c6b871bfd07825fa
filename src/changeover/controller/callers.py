"""Who may use a route of the control port: callers whom the guard knows; without a guard, this machine's own.

A port without a guard listens on loopback only. That keeps other machines out, but not the pages that a browser on this
machine shows: one of another site can send requests here, and when that site's name is made to mean 127.0.0.1 (DNS
rebinding) the browser even lets it read the answers. Both are told by what every browser sends.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from changeover.access import Guard
from changeover.controller.endpoint import Endpoint, Handler
from changeover.errors import Forbidden
from changeover.settings import is_loopback


def checked(endpoint: Endpoint, guard: Guard | None, certified: bool) -> Handler:
    """The answer of a row, for those who may have it.

    Args:
        endpoint: the row.
        guard: None where everybody on this machine may do everything.
        certified: the port takes only connections with a verified client certificate.
    """

    async def answer(request: Request) -> Response:
        if guard is None:
            _check_local(request.headers.get("host"), request.headers.get("origin"))
        else:
            authorization = request.headers.get("authorization")
            guard.check(endpoint.scope, None if authorization is None else authorization.encode("latin-1"), certified)
        return await endpoint.answer(request)

    return answer


def _check_local(host: str | None, origin: str | None) -> None:
    """Let programs and our own pages pass.

    Raises:
        Forbidden: it was asked by another machine's name, or by another site's page (reasons `foreign_host`,
            `foreign_origin`).
    """
    if host is not None and not _names_loopback(host):
        raise Forbidden(
            f"this port is asked as localhost or 127.0.0.1, not as {host!r}; to be asked by other names it needs a "
            "--token-file",
            reason="foreign_host",
        )
    if origin is not None and urlsplit(origin).netloc != host:
        raise Forbidden(f"a page from {origin} may not use this control port", reason="foreign_origin")


def _names_loopback(host: str) -> bool:
    """Whether a Host header, with any port, is an address of loopback or `localhost`."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False  # half a bracket
