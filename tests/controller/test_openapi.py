"""`/openapi.json` describes the port that answers it."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from changeover.access import Scope
from changeover.controller import openapi
from changeover.controller.api import endpoints
from changeover.controller.service import Service

TABLE = endpoints(cast(Service, None))
DOCUMENT = json.loads(json.dumps(openapi.document(TABLE)))


def test_every_row_is_described() -> None:
    """Path and method, with a sentence, and no name twice."""
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(row.path, row.method.lower()) for row in TABLE}
    operations = [one for methods in DOCUMENT["paths"].values() for one in methods.values()]
    assert all(one["summary"].endswith(".") for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_a_row_has_its_scope_and_its_parameters(row: Any) -> None:
    """A client generator learns who may ask, and every placeholder of the path."""
    told = DOCUMENT["paths"][row.path][row.method.lower()]
    assert told["security"] == ([] if row.scope is Scope.OPEN else [{"token": ["admin"]}])
    named = {p["name"] for p in told.get("parameters", []) if p["in"] == "path"}
    assert all(f"{{{name}}}" in row.path for name in named)
    assert row.path.count("{") == len(named)
    assert set(told["responses"]) == {str(row.status), "default"}


def test_every_reference_leads_somewhere() -> None:
    """To a schema of the document."""
    schemas = DOCUMENT["components"]["schemas"]
    references = set(_references(DOCUMENT))
    assert {f"#/components/schemas/{name}" for name in ("Failure", "RolloutStatus", "StartBody")} <= references
    assert {reference.rpartition("/")[2] for reference in references} <= set(schemas)


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [reference for part in value.values() for reference in _references(part)]
    return [reference for part in value for reference in _references(part)] if isinstance(value, list) else []
