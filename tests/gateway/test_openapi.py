"""The inference port's description: every route, every status, every reason."""

from __future__ import annotations

import json
import re

from changeover.access import Scope
from changeover.gateway.http import FIXED, OF_A_MODEL, OF_A_REGION, OF_THE_REPOSITORY, asked, description, paths, route
from changeover.gateway.openapi import ABOUT, about_of
from changeover.openapi.page import page
from tests import reasons as source
from tests.openapi import told

DOCUMENT = json.loads(description()[0])

GRPC = ("gateway/door/http2/", "gateway/grpc", "protocol/oip_grpc")
"""Files of the other port."""
SOURCES = ("gateway/", "protocol/", "transport/board.py")
NOBODY_IS_TOLD = {"http2_protocol", "invalid_config"}
"""Of a connection, or of a file: no answer over HTTP/1.1 has them."""


def test_every_route_is_described() -> None:
    """All tables, with the versions' paths; what is described is routed, and nothing is described twice."""
    rows = {(one.path, one.method) for one in asked()}
    assert {(path, method) for path, method, _ in told.operations(DOCUMENT)} == rows
    for path, row in paths():
        found = route(path.replace("{model}", "m").replace("{version}", "4").replace("{region}", "r"))
        assert found is not None
        assert found.endpoint is row
    assert {row for _, row in paths()} == {
        *FIXED.values(),
        *OF_A_MODEL.values(),
        *OF_A_REGION.values(),
        *OF_THE_REPOSITORY.values(),
    }
    assert {about_of(one) for one in asked()} == set(ABOUT)
    names = [operation["operationId"] for _, _, operation in told.operations(DOCUMENT)]
    assert len(set(names)) == len(names)


def test_every_route_tells_its_scope_and_its_parameters() -> None:
    """Who may ask; every placeholder of the path; a body where one is taken."""
    scopes = {(one.path, one.method): one.scope for one in asked()}
    for path, method, operation in told.operations(DOCUMENT):
        scope = scopes[path, method]
        assert operation["security"] == ([] if scope is Scope.OPEN else [{"token": [scope.value]}])
        assert ("401" in operation["responses"]) == (scope is not Scope.OPEN)
        named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))
        assert "requestBody" not in operation or method == "POST"
    assert scopes["/v2/logging", "GET"] is Scope.INFER
    assert scopes["/v2/logging", "POST"] is Scope.ADMIN


def test_every_reference_leads_somewhere() -> None:
    """To a schema of the document, and every schema is used."""
    used = {reference.rpartition("/")[2] for reference in told.references(DOCUMENT)}
    assert used == set(DOCUMENT["components"]["schemas"])


def test_every_reason_that_this_port_can_give_is_described() -> None:
    """All words of the door, the gateway and the protocol: a new one without a place here is found."""
    files = {name: text for name, text in source.package().items() if name.startswith(SOURCES)}
    said = {word for word, where in source.reasons(files).items() if not all(one.startswith(GRPC) for one in where)}
    described = {reason for reason, _ in told.pairs(DOCUMENT)}
    assert said - described - NOBODY_IS_TOLD - {"method_not_allowed"} == set()
    assert "method_not_allowed" in DOCUMENT["info"]["description"]


def test_statuses_are_those_of_the_operations_page() -> None:
    """Word by word, where it tells one."""
    known = told.statuses()
    assert len(known) > 60
    wrong = {(word, status) for word, status in told.pairs(DOCUMENT) if status not in (known.get(word) or {status})}
    assert wrong == set()


def test_the_page_is_the_documents() -> None:
    """Made of the same description."""
    assert description()[1].decode() == page(DOCUMENT)
