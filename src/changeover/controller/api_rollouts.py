"""The rows of the control port's table that are about rollouts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from changeover.access import Scope
from changeover.controller import openapi
from changeover.controller.asked import asked
from changeover.controller.bodies import Explanation, RolloutList, RolloutStatus, ShareBody, StartBody
from changeover.controller.endpoint import Endpoint, Handler, answer
from changeover.errors import InvalidRequest, TooLarge
from changeover.openapi.operation import together
from changeover.rollout.plan_schema import plan_schema

if TYPE_CHECKING:
    from changeover.controller.service import Service

_VERBS: Final = {
    "pause": "Stop where it is; the share of the traffic stays.",
    "resume": "Go on with a paused rollout.",
    "promote": "Give the new version all traffic now, whatever steps are left.",
    "abort": "Give all traffic back to the version that served before.",
    "undo": "Give all traffic back after the promotion, while the previous version is kept warm.",
}
_MOST_BYTES: Final = 1 << 20
Body = TypeVar("Body", bound=msgspec.Struct)


class RolloutApi:
    """Looking at rollouts and steering them; every verb answers when it is done."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def endpoints(self) -> list[Endpoint]:
        """The rows, all for operators."""
        row, admin, read, journal = Endpoint, Scope.ADMIN, Scope.READ, openapi.JOURNAL
        steering = together(openapi.STEERING, journal)
        weighing = together(steering, openapi.BODY, {400: ("invalid_weight",)})
        of_model, of_rollout = together(openapi.MODEL, openapi.ROLLOUT, journal), together(openapi.ROLLOUT, journal)
        model, one = "/v1/models/{model}/rollout", "/v1/rollouts/{rollout}"
        started, listed = together(openapi.START, journal), together(openapi.MODEL, journal)
        share, why = "Set the new version's share.", "Why it is where it is, in sentences."
        latest = "The model's present or latest rollout."
        start = "Start a rollout to a version that is known; it waits for one that is under way."
        return [
            row("GET", model, read, self.rollout, latest, RolloutStatus, errors=of_model),
            row("POST", model, admin, self.start, start, RolloutStatus, StartBody, 202, errors=started),
            *(
                row("POST", f"{model}/{verb}", admin, self._verb(verb), told, RolloutStatus, errors=steering)
                for verb, told in _VERBS.items()
            ),
            row("POST", f"{model}/weight", admin, self.weight, share, RolloutStatus, ShareBody, errors=weighing),
            row("GET", f"{model}s", read, self.rollouts, "The newest 100, newest first.", RolloutList, errors=listed),
            row("GET", one, read, self.rollout_by_id, "One rollout.", RolloutStatus, errors=of_rollout),
            row("GET", f"{one}/explain", read, self.explain, why, Explanation, errors=of_rollout),
            row("GET", "/v1/schema", read, self.schema, "JSON Schema of a plan (model.yaml)."),
        ]

    def _verb(self, verb: str) -> Handler:
        async def steer(request: Request) -> Response:
            with asked(self._service.chronicle, request, verb):
                return answer(await self._service.steering.steer(request.path_params["model"], verb))

        steer.__name__ = verb
        return steer

    async def rollout(self, request: Request) -> Response:
        """`GET /v1/models/M/rollout`."""
        return answer(await self._service.steering.status(request.path_params["model"]))

    async def start(self, request: Request) -> Response:
        """`POST /v1/models/M/rollout`."""
        body = await body_of(request, StartBody)
        with asked(self._service.chronicle, request, "start", version=str(body.version)):
            return answer(await self._service.steering.start(request.path_params["model"], body), 202)

    async def weight(self, request: Request) -> Response:
        """`POST …/rollout/weight`."""
        body = await body_of(request, ShareBody)
        with asked(self._service.chronicle, request, "weight", weight=str(body.weight)):
            return answer(await self._service.steering.weigh(request.path_params["model"], body.weight))

    async def rollouts(self, request: Request) -> Response:
        """`GET /v1/models/M/rollouts`."""
        return answer(RolloutList(rollouts=await self._service.steering.of(request.path_params["model"])))

    async def rollout_by_id(self, request: Request) -> Response:
        """`GET /v1/rollouts/ID`."""
        return answer(await self._service.steering.by_id(request.path_params["rollout"]))

    async def explain(self, request: Request) -> Response:
        """`GET /v1/rollouts/ID/explain`."""
        return answer(await self._service.steering.explain(request.path_params["rollout"]))

    async def schema(self, _: Request) -> Response:
        """`GET /v1/schema`."""
        return answer(plan_schema())


async def body_of(request: Request, kind: type[Body], most: int = _MOST_BYTES) -> Body:
    """The request's JSON, as this type.

    Raises:
        InvalidRequest: it is none (`malformed_json`), or another (`invalid_request`); the sentence names the field.
        TooLarge: over `most` bytes.
    """
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
        if len(text) > most:
            raise TooLarge(f"the body may have {most >> 20} MiB at most")
    try:
        if len(text) > _MOST_BYTES:  # a document of many megabytes must not hold up the control plane
            return await asyncio.to_thread(msgspec.json.decode, text, type=kind)
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"body: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is no JSON: {error}", reason="malformed_json") from None
