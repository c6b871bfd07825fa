"""A row of the control port's table: what is asked how, by whom, and what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from changeover.access import Scope
from changeover.errors import InvalidRequest
from changeover.openapi.operation import Content, Errors

Handler = Callable[[Request], Awaitable[Response]]


class Endpoint(NamedTuple):
    """One row. There is no row without a scope, and no route without a row.

    Attributes:
        summary: a sentence for `/openapi.json`.
        gives: type of a good answer's body, None for any JSON object.
        takes: type of the request's body, None for none.
        status: of a good answer.
        query: names of optional query parameters.
        headers: names of optional headers.
        upload: the body is a version's files.
        errors: reasons of its errors by status, beside those of access.
        content: of a good answer that is no JSON.
    """

    method: str
    path: str
    scope: Scope
    answer: Handler
    summary: str
    gives: type[msgspec.Struct] | None = None
    takes: type[msgspec.Struct] | None = None
    status: int = 200
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    upload: bool = False
    errors: Errors = MappingProxyType({})
    content: Content | None = None


def check_query(endpoint: Endpoint, request: Request) -> None:
    """Nothing is done at a misspelt word: what it was to say would be passed over.

    Raises:
        InvalidRequest: a call that changes something has a query parameter that its row does not know
            (`unknown_query`).
    """
    if endpoint.method == "GET":
        return
    unknown = sorted(set(request.query_params) - set(endpoint.query))
    if unknown:
        known = f"known: {', '.join(endpoint.query)}" if endpoint.query else "it takes none"
        raise InvalidRequest(f"unknown query parameter {unknown[0][:40]!r}; {known}", reason="unknown_query")


def answer(value: object, status: int = 200) -> Response:
    """The value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
