"""`GET /openapi.json`: the control port's own table, written as OpenAPI 3.1. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from changeover import __version__
from changeover.access import Scope
from changeover.controller.bodies import Failure
from changeover.controller.endpoint import Endpoint

_REFERENCE: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_PARAMETERS: Final = {"model": "Name of the model.", "rollout": "Such as r-000003."}
_BINARY: Final = {"type": "string", "format": "binary"}
_UPLOADS: Final = {
    "application/octet-stream": {"schema": {**_BINARY, "description": "The ONNX file."}},
    "application/x-tar": {"schema": {**_BINARY, "description": "model.onnx and whatever belongs to it."}},
}


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The description of the control port that has these rows."""
    rows = list(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    bodies = {body for row in rows for body in (row.takes, row.gives) if body is not None}
    named = [Failure, *sorted(bodies, key=lambda body: body.__name__)]
    schemas = msgspec.json.schema_components(named, schema_hook=_anything, ref_template=_REFERENCE)[1]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Changeover control API", "version": __version__},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Only where the server has a token file: a token with the scope named.",
                }
            },
        },
    }


def _anything(_: type) -> dict[str, Any]:
    """Of a value such as a gate's evidence; an empty schema would not be taken."""
    return {"description": "Any JSON value."}


def _operation(row: Endpoint) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": row.answer.__name__,
        "summary": row.summary,
        "security": [] if row.scope is Scope.OPEN else [{"token": [row.scope]}],
        "responses": {
            str(row.status): {"description": "Done.", **_content(row.gives)},
            "default": {"description": "Refused, or not possible now.", **_content(Failure)},
        },
    }
    parameters = [_path_parameter(name) for name in _PARAMETER.findall(row.path)] + [_query(n) for n in row.query]
    if parameters:
        told["parameters"] = parameters
    if row.takes is not None:
        told["requestBody"] = {"required": True, **_content(row.takes)}
    elif row.upload:
        told["requestBody"] = {"required": True, "content": _UPLOADS}
    return told


def _content(body: type[msgspec.Struct] | None) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name=body.__name__)} if body else {"type": "object"}
    return {"content": {"application/json": {"schema": schema}}}


def _path_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _PARAMETERS[name],
        "schema": {"type": "string"},
    }


def _query(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "integer", "minimum": 1}}
