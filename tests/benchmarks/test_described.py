"""Random requests made of the port's description: 720, which take 25 s, and a description with a gap in it is found.

`benchmarks/described.py` sends 50,000.
"""

from __future__ import annotations

from typing import Any

import pytest

from changeover.testing import Server, exchange

pytest.importorskip("schemathesis", reason="its cases are schemathesis's")


@pytest.fixture(scope="module")
def document(shared_server: Server) -> dict[str, Any]:
    told: dict[str, Any] = exchange(shared_server.http_port, "GET", "/openapi.json").json()
    return told


def test_every_answer_is_described(shared_server: Server, document: dict[str, Any]) -> None:
    """Status, form and reason; each operation was asked, and some requests got as far as the model."""
    from described import fuzz

    seen = fuzz(document, f"http://127.0.0.1:{shared_server.http_port}", 720)
    assert seen.total() > 400
    assert {operation for operation, _ in seen} == {
        f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
    }
    assert any(status == 200 for operation, status in seen if operation.endswith("/infer"))
    assert seen["POST /v2/models/{model}/infer", 400] > 20


@pytest.mark.parametrize("gap", ["status", "reason"])
def test_a_gap_is_found(shared_server: Server, document: dict[str, Any], gap: str) -> None:
    """A status or a reason that the description does not have."""
    from described import fuzz

    path = "/v2/models/{model}/infer"
    answers = dict(document["paths"][path]["post"]["responses"])
    if gap == "status":
        del answers["400"]
    else:
        schema = {"allOf": [{"$ref": "#/components/schemas/Failure"}, {"properties": {"reason": {"enum": ["no"]}}}]}
        answers["400"] = {"description": "Error.", "content": {"application/json": {"schema": schema}}}
    crooked = {**document, "paths": {path: {"post": {**document["paths"][path]["post"], "responses": answers}}}}
    with pytest.raises(AssertionError, match=r"POST /v2/models/\{model\}/infer"):
        fuzz(crooked, f"http://127.0.0.1:{shared_server.http_port}", 100)
