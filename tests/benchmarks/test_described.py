"""Random requests made of the port's description, and a description with a gap in it is found.

`benchmarks/described.py` sends 50,000; here and in `test_described_versions.py` are more than 5,000.
"""

from __future__ import annotations

from typing import Any

import pytest

from changeover.testing import Server
from tests.benchmarks.described_parts import CASES, PARTS, ask, document_of


@pytest.fixture(scope="module")
def document(shared_server: Server) -> dict[str, Any]:
    return document_of(shared_server)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS // 2))
def test_every_answer_is_described(shared_server: Server, part: int) -> None:
    """Status, form and reason, whether the request fits its description or not."""
    ask(shared_server, part)


def test_every_operation_is_asked(document: dict[str, Any]) -> None:
    """The parts together have each one, in both modes, and as many requests as they say."""
    from described import INFER, jobs

    found = jobs(document, CASES)
    assert len(found) == 2 * sum(map(len, document["paths"].values()))
    assert {job.operation.label for job in found} == {
        f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
    }
    assert [job.operation.path.endswith(INFER) for job in found[: PARTS + 1]] == [True] * PARTS + [False]
    assert 5_000 <= sum(job.cases for job in found) <= CASES


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
