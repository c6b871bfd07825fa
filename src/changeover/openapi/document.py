"""Operations as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from changeover.openapi.operation import JSON, OTHERS, Content, Failure, Operation, Parameter, Schema

_REFERENCE: Final = "#/components/schemas/{name}"
_TOKEN: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "Only where the server has a token file: a token with the scope named.",
}
_TOLD_WITH: Final = {
    401: {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}},
    503: {
        "Retry-After": {
            "description": "Seconds after which it is worth to ask again, where that is known.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}


def document(title: str, description: str, version: str, operations: Iterable[Operation]) -> dict[str, Any]:
    """The document of a port with these operations; `description` is Markdown."""
    rows = list(operations)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": version},
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": _schemas(rows), "securitySchemes": {"token": _TOKEN}},
    }


def _schemas(rows: Sequence[Operation]) -> dict[str, Any]:
    contents = [content for row in rows for content in (row.takes or {}, *row.gives.values())]
    bodies = {body for content in contents for body in content.values() if isinstance(body, type)}
    named = [Failure, *sorted(bodies - {Failure}, key=lambda body: body.__name__)]
    return msgspec.json.schema_components(named, schema_hook=_anything, ref_template=_REFERENCE)[1]


def _anything(_: type) -> dict[str, Any]:
    """Of a value such as a gate's evidence; an empty schema would not be taken."""
    return {"description": "Any JSON value."}


def _operation(row: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "security": [] if row.scope is None else [{"token": [row.scope]}],
        "responses": {str(status): _response(row, status) for status in sorted({*row.gives, *row.errors})},
    }
    if row.parameters:
        told["parameters"] = [_parameter(parameter) for parameter in row.parameters]
    if row.takes:
        told["requestBody"] = {"required": True, "content": _content(row.takes)}
    return told


def _response(row: Operation, status: int) -> dict[str, Any]:
    reasons, given = row.errors.get(status, ()), row.gives.get(status)
    words = [_sentence(reasons)] if reasons else []
    if given is not None:
        words.insert(0, "Done." if status < 300 else "Not now.")
    content = {} if given is None else _content(given)
    if reasons:
        failure = _failure(reasons)
        content[JSON] = {"schema": {"anyOf": [content[JSON]["schema"], failure]} if JSON in content else failure}
    told: dict[str, Any] = {"description": " ".join(words), "content": content}
    headers = dict(_TOLD_WITH.get(status, {}))
    if status < 300 and row.headers:
        headers = {n: {"description": d, "schema": {"type": "integer"}} for n, d in row.headers.items()}
    if headers:
        told["headers"] = headers
    return told


def _sentence(reasons: Sequence[str]) -> str:
    named = ", ".join(f"`{reason}`" for reason in reasons if reason != OTHERS)
    return f"Error: {named}{', and others' if OTHERS in reasons else ''}."


def _failure(reasons: Sequence[str]) -> Schema:
    whole = {"$ref": _REFERENCE.format(name=Failure.__name__)}
    if OTHERS in reasons:
        return whole
    return {"allOf": [whole, {"properties": {"reason": {"enum": list(reasons)}}}]}


def _content(content: Content) -> dict[str, Any]:
    return {
        media: {"schema": {"$ref": _REFERENCE.format(name=body.__name__)} if isinstance(body, type) else dict(body)}
        for media, body in content.items()
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
