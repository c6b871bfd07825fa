"""The calls of the model repository over HTTP, as Triton's clients make them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from changeover.errors import ChangeoverError, InvalidRequest
from changeover.gateway.answers import error_answer, json_answer, warnings
from changeover.gateway.door.request import HttpRequest
from changeover.gateway.extensions import Handler
from changeover.gateway.repository import Leave, Repository, Told

if TYPE_CHECKING:
    from changeover.gateway.http import Route

INDEX: Final = "repository_index"
LOAD: Final = "repository_load"
UNLOAD: Final = "repository_unload"
_INDEX_BODY: Final = 4096


class RepositoryCalls:
    """Takes the calls of one port.

    Args:
        repository: which they are asked of.

    Attributes:
        handlers: by the name of the endpoint.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._calls: dict[str, Callable[[HttpRequest, str, Told], Leave]] = {
            INDEX: self._index,
            LOAD: self._load,
            UNLOAD: self._unload,
        }
        self.handlers: dict[str, Handler] = {what: partial(self._take, what) for what in self._calls}

    def _take(self, what: str, request: HttpRequest, found: Route) -> None:
        """Take one call; its answer goes out when the controller has answered."""

        def told(outcome: Any) -> None:
            request.abandoned = None
            if isinstance(outcome, ChangeoverError):
                error_answer(request, outcome)
            elif outcome and what == UNLOAD:  # the answer has no body, as Triton's has none
                request.respond(200, warnings(outcome), [])
            elif outcome:
                json_answer(request, {"warnings": outcome} if what == LOAD else outcome)
            else:
                request.respond(200, b"", [b"[]"] if what == INDEX else [])

        try:
            request.abandoned = self._calls[what](request, found.model, told)
        except ChangeoverError as error:
            error_answer(request, error)

    def _index(self, request: HttpRequest, _: str, told: Told) -> Leave:
        return self._repository.index(ready=_ready(request.body), told=told)

    def _load(self, request: HttpRequest, model: str, told: Told) -> Leave:
        return self._repository.load(model, request.body if request.body else [], told)

    def _unload(self, _: HttpRequest, model: str, told: Told) -> Leave:
        """Its parameters say what becomes of dependents, and no model has any."""
        return self._repository.unload(model, told)


def _ready(body: memoryview) -> bool:
    """What an index asks for; no body, no condition."""
    if not body:
        return False
    try:
        asked = orjson.loads(body) if len(body) <= _INDEX_BODY else None
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"the body of an index is {{'ready': true}} in JSON: {error}", reason="malformed_json"
        ) from None
    if not isinstance(asked, dict) or not isinstance(asked.get("ready", False), bool):
        raise InvalidRequest("the body of an index is {'ready': true} or {}", reason="invalid_request")
    return bool(asked.get("ready", False))
