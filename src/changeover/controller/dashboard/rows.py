"""The rows of the control port's table that are the dashboard: its files, and what its reader may do."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from changeover.access import Scope
from changeover.controller.callers import rights
from changeover.controller.dashboard import files
from changeover.controller.endpoint import Endpoint, answer
from changeover.openapi.operation import Content, Errors

_PAGE: Final[Content] = {"text/html": {"type": "string"}}
_FILES: Final[Content] = {
    kind.partition(";")[0]: {"type": "string"} for ending, kind in files.TYPES.items() if ending != "html"
}
_UNKNOWN: Final[Errors] = {404: ("path_not_found",)}


def endpoints() -> list[Endpoint]:
    """The rows. The files say nothing of this server, so everybody may read them; what they ask takes a token."""
    row, everybody = Endpoint, Scope.OPEN
    vendored = "A file that the dashboard brings from elsewhere."
    return [
        row("GET", "/v1/access", everybody, access, "What the caller may do here."),
        row("GET", "/", everybody, home, "The dashboard.", content=_PAGE),
        row("GET", "/ui", everybody, files.page, "The dashboard.", content=_PAGE),
        row("GET", "/ui/{file}", everybody, files.file, "A file of the dashboard.", content=_FILES, errors=_UNKNOWN),
        row("GET", "/ui/vendor/{file}", everybody, files.vendored, vendored, content=_FILES, errors=_UNKNOWN),
    ]


async def home(request: Request) -> Response:
    """`GET /`: who types only host and port into a browser wants to see the same."""
    return await files.page(request)


async def access(request: Request) -> Response:
    """`GET /v1/access`."""
    return answer(rights(request))
