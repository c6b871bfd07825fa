"""The rows of the control port's table that are about sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response

from changeover.access import Scope
from changeover.controller import openapi
from changeover.controller.api_rollouts import body_of
from changeover.controller.asked import asked
from changeover.controller.endpoint import Endpoint, answer
from changeover.controller.sequence_bodies import (
    Identity,
    SequenceBody,
    SequenceChanged,
    SequenceExport,
    SequenceList,
    SequenceShown,
)
from changeover.openapi.operation import Errors, together

if TYPE_CHECKING:
    from changeover.controller.service import Service

_MOST_BYTES: Final = 256 << 20
"""Of an exported sequence."""
_LONGEST: Final = 128
"""Characters of a sequence's name in an event; a longer one is none, and refused."""
_ALL: Final = together(openapi.MODEL, {404: ("no_sequences",), 503: ("worker_away", "slab_malformed")})
_ONE: Final = together(_ALL, openapi.BODY, {404: ("sequence_not_found",)})
_REFUSED: Final[Errors] = {400: ("sequence_malformed", "state_unfit"), 409: ("sequence_live", "sequence_no_room")}
_IMPORT: Final = together(_ONE, _REFUSED)


class SequenceApi:
    """Looking at live sequences, ending them, taking them out and bringing them in."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def endpoints(self) -> list[Endpoint]:
        """The rows: the list is for whoever may look, the rest for operators."""
        row, admin, path = Endpoint, Scope.ADMIN, "/v1/models/{model}/sequences"
        show, end, export = (f"{path}/{verb}" for verb in ("show", "end", "export"))
        one, live, ended = "One live sequence with its states.", "All live sequences.", "End a sequence without a step."
        out, into = "A live sequence as a document.", "Bring an exported sequence into the active version."
        named, shown = SequenceBody, SequenceShown
        return [
            row("GET", path, Scope.READ, self.sequences, live, SequenceList, errors=_ALL),
            row("POST", show, admin, self.show_sequence, one, shown, named, errors=_ONE),
            row("POST", end, admin, self.end_sequence, ended, SequenceChanged, named, errors=_ONE),
            row("POST", export, admin, self.export_sequence, out, SequenceExport, named, errors=_ONE),
            row("POST", f"{path}/import", admin, self.import_sequence, into, SequenceChanged, SequenceExport,
                errors=_IMPORT),
        ]  # fmt: skip

    async def sequences(self, request: Request) -> Response:
        """`GET /v1/models/M/sequences`."""
        return answer(await self._service.sequences.listed(request.path_params["model"]))

    async def show_sequence(self, request: Request) -> Response:
        """`POST …/sequences/show`."""
        named = await body_of(request, SequenceBody)
        return answer(await self._service.sequences.show(request.path_params["model"], named.id))

    async def end_sequence(self, request: Request) -> Response:
        """`POST …/sequences/end`."""
        named = await body_of(request, SequenceBody)
        with asked(self._service.chronicle, request, "end_sequence", sequence=_named(named.id)):
            return answer(await self._service.sequences.end(request.path_params["model"], named.id))

    async def export_sequence(self, request: Request) -> Response:
        """`POST …/sequences/export`."""
        named = await body_of(request, SequenceBody)
        return answer(await self._service.sequences.export(request.path_params["model"], named.id))

    async def import_sequence(self, request: Request) -> Response:
        """`POST …/sequences/import`."""
        document = await body_of(request, SequenceExport, _MOST_BYTES)
        with asked(self._service.chronicle, request, "import_sequence", sequence=_named(document.id)):
            return answer(await self._service.sequences.bring(request.path_params["model"], document))


def _named(name: Identity) -> str:
    """A sequence in an event, which is told before the name is looked at."""
    return str(name)[:_LONGEST]
