"""Operations as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

import msgspec

from changeover.openapi.document import document
from changeover.openapi.operation import BINARY, OTHERS, Failure, Operation, Parameter, json_of
from tests.openapi.told import references


class Thing(msgspec.Struct):
    """A thing."""

    name: str
    evidence: Any = None


ROW = Operation(
    "POST",
    "/things/{name}",
    "make",
    "Make a thing.",
    "admin",
    {200: {**json_of(Thing), BINARY: {"type": "string", "format": "binary"}}, 503: json_of(Thing)},
    {400: ("wrong", "worse"), 401: ("unknown",), 503: ("later",), 500: ("broken", OTHERS)},
    (
        Parameter("name", "path", "Its name.", {"type": "string"}),
        Parameter("many", "query", "How many.", {"type": "integer"}),
    ),
    json_of(Thing),
    {"changeover-epoch": "A number."},
)
DOCUMENT = document(
    "Things", "About things.", "1", [ROW, Operation("GET", "/", "all", "All.", None, {200: json_of()}, {})]
)
MAKE = DOCUMENT["paths"]["/things/{name}"]["post"]


def test_an_error_has_its_reasons() -> None:
    """As an enumeration, unless there are others; beside a good answer with the same status."""
    failure = {"$ref": "#/components/schemas/Failure"}
    told = {status: answer["content"]["application/json"]["schema"] for status, answer in MAKE["responses"].items()}
    assert told["400"] == {"allOf": [failure, {"properties": {"reason": {"enum": ["wrong", "worse"]}}}]}
    assert told["500"] == failure
    assert told["503"]["anyOf"][0] == {"$ref": "#/components/schemas/Thing"}
    assert told["503"]["anyOf"][1]["allOf"][0] == failure
    assert MAKE["responses"]["500"]["description"] == "Error: `broken`, and others."
    assert list(told) == ["200", "400", "401", "500", "503"]


def test_headers_are_told() -> None:
    """Those of an answer, and those that go with a status."""
    assert "changeover-epoch" in MAKE["responses"]["200"]["headers"]
    assert "Retry-After" in MAKE["responses"]["503"]["headers"]
    assert "WWW-Authenticate" in MAKE["responses"]["401"]["headers"]


def test_who_may_ask_and_with_what() -> None:
    """The scope; what is in a path is needed, the rest is not; the body."""
    assert MAKE["security"] == [{"token": ["admin"]}]
    assert DOCUMENT["paths"]["/"]["get"]["security"] == []
    assert [(p["name"], p["required"]) for p in MAKE["parameters"]] == [("name", True), ("many", False)]
    assert MAKE["requestBody"]["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}


def test_every_reference_leads_somewhere() -> None:
    """To a schema of the document; a value of any kind has one too."""
    schemas = DOCUMENT["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(DOCUMENT)} == {"Thing", Failure.__name__}
    assert set(schemas) == {"Thing", "Failure"}
    assert schemas["Thing"]["properties"]["evidence"] != {}
