"""Who may use a route of the control port: callers whom the guard knows; without a guard, this machine's own."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from changeover.access import Guard, Scope
from changeover.controller.endpoint import Endpoint, Handler, check_query
from changeover.errors import ChangeoverError
from changeover.loopback import check_local


def checked(endpoint: Endpoint, guard: Guard | None, certified: bool) -> Handler:
    """The answer of a row, for those who may have it.

    Args:
        endpoint: the row.
        guard: None where everybody on this machine may do everything.
        certified: the port takes only connections with a verified client certificate.
    """

    async def answer(request: Request) -> Response:
        if guard is None:
            check_local(request.headers.get("host"), request.headers.get("origin"))
        else:
            authorization = request.headers.get("authorization")
            sent = None if authorization is None else authorization.encode("latin-1")
            request.state.caller = guard.check(endpoint.scope, sent, certified)
            request.state.scopes = guard.scopes(sent, certified)
            request.state.allowed = lambda: _passes(guard, endpoint.scope, sent, certified)
        check_query(endpoint, request)
        return await endpoint.answer(request)

    return answer


def _passes(guard: Guard, scope: Scope, sent: bytes | None, certified: bool) -> bool:
    """Whether the caller would still pass: for an answer that goes on for long, since a token may be taken back."""
    try:
        guard.check(scope, sent, certified)
    except ChangeoverError:
        return False
    return True


def rights(request: Request) -> dict[str, object]:
    """What its caller may do; `guarded`: there is a guard at all."""
    scopes = getattr(request.state, "scopes", None)
    allowed = [Scope.READ, Scope.ADMIN] if scopes is None else sorted(scopes)
    return {"guarded": scopes is not None, "scopes": [str(scope) for scope in allowed]}
