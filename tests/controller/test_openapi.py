"""`/openapi.json` and `/docs` describe the control port that answers them."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from changeover.access import Scope
from changeover.controller import openapi
from changeover.controller.api import endpoints
from changeover.controller.service import Service
from changeover.openapi.page import page
from changeover.testing import Server, exchange
from tests import reasons as source
from tests.openapi import told

TABLE = endpoints(cast(Service, None))
DOCUMENT = json.loads(json.dumps(openapi.document(TABLE)))

NOBODY_IS_TOLD = {
    "faults_file",  # of a file, at the start
    "invalid_parameter",
    "rollout_paused",  # of loads, which port 8000 takes
    "rollout_under_way",  # of what the server tuned itself, which nobody pushes over this port
    "method_not_allowed", "path_not_found",  # of what is no row
}  # fmt: skip


def test_every_row_is_described() -> None:
    """Path and method, with a sentence, and no name twice."""
    described = {(path, method) for path, method, _ in told.operations(DOCUMENT)}
    assert described == {(row.path, row.method) for row in TABLE}
    operations = [operation for _, _, operation in told.operations(DOCUMENT)]
    assert all(one["summary"].endswith(".") for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_a_row_has_its_scope_and_its_parameters(row: Any) -> None:
    """A client generator learns who may ask, and every placeholder of the path."""
    operation = DOCUMENT["paths"][row.path][row.method.lower()]
    assert operation["security"] == ([] if row.scope is Scope.OPEN else [{"token": [row.scope.value]}])
    named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
    assert all(f"{{{name}}}" in row.path for name in named)
    assert row.path.count("{") == len(named)
    assert {str(row.status), "403"} <= set(operation["responses"])
    assert ("401" in operation["responses"]) == (row.scope is not Scope.OPEN)
    assert ("404" in operation["responses"]) == ((bool(named) and row.status != 202) or row.path.endswith("/rollout"))


def test_every_reference_leads_somewhere() -> None:
    """To a schema of the document."""
    references = set(told.references(DOCUMENT))
    assert {f"#/components/schemas/{name}" for name in ("Failure", "RolloutStatus", "StartBody")} <= references
    assert {reference.rpartition("/")[2] for reference in references} <= set(DOCUMENT["components"]["schemas"])


def test_every_reason_of_this_room_is_described() -> None:
    """A new one without a place here is found."""
    files = {name: text for name, text in source.package().items() if name.startswith("controller/")}
    described = {reason for reason, _ in told.pairs(DOCUMENT)}
    assert set(source.reasons(files)) - described - NOBODY_IS_TOLD == set()
    for word in ("path_not_found", "method_not_allowed"):
        assert word in DOCUMENT["info"]["description"]


def test_statuses_are_those_of_the_operations_page() -> None:
    """Where it has one: a version that is refused is 422 here, and else the reason of a rollout."""
    known = told.statuses()
    wrong = {(word, status) for word, status in told.pairs(DOCUMENT) if status not in (known.get(word) or {status})}
    assert wrong == set()


def test_document_and_page_are_served(shared_server: Server) -> None:
    """On both ports; the page forbids scripts, and is made of the same description."""
    for port in (shared_server.control_port, shared_server.http_port):
        document = exchange(port, "GET", "/openapi.json").json()
        answer = exchange(port, "GET", "/docs")
        assert answer.body.decode() == page(document)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (document == DOCUMENT) == (port == shared_server.control_port)
