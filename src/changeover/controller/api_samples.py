"""The row of the control port's table that hands out recent requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response

from changeover.access import Scope
from changeover.controller import openapi
from changeover.controller.asked import asked
from changeover.controller.endpoint import Endpoint
from changeover.errors import Conflict
from changeover.openapi.operation import together

if TYPE_CHECKING:
    from changeover.controller.service import Service

_ERRORS: Final = together(openapi.MODEL, {409: ("samples_private", "no_samples")})


class SamplesApi:
    """What clients asked lately, for those who may administer: that somebody looked is on record."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def endpoints(self) -> list[Endpoint]:
        """The row."""
        summary = "A random sample of the inputs of recent requests, as an .npz: an array an input, samples first."
        path = "/v1/models/{model}/samples"
        return [Endpoint("POST", path, Scope.ADMIN, self.samples, summary, errors=_ERRORS, content=openapi.ARCHIVE)]

    async def samples(self, request: Request) -> Response:
        """`POST /v1/models/M/samples`."""
        name = request.path_params["model"]
        with asked(self._service.chronicle, request, "samples"):
            archive = await self._service.samples(name)
            if not archive.samples:
                raise Conflict(
                    f"no request of {name!r} is kept yet: those that name a version, are over 1 MiB, or are steps of a "
                    "sequence never are",
                    reason="no_samples",
                )
        told = {"seen": archive.seen, "samples": archive.samples, "left-out": archive.left_out}
        headers = {f"changeover-{word}": str(count) for word, count in told.items()}
        return Response(archive.data, media_type="application/zip", headers=headers)
