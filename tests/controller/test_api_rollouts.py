"""Rollouts over the control port of a real server."""

from __future__ import annotations

import json

import pytest

from changeover.testing import Server, exchange
from tests import onnx_models


def test_the_schema_is_served(shared_server: Server) -> None:
    """The one that `changeover schema` prints."""
    from changeover.rollout.plan_schema import plan_schema

    assert shared_server.control("GET", "/v1/schema") == json.loads(json.dumps(plan_schema()))


def test_the_description_is_served(shared_server: Server) -> None:
    """With every path of this port."""
    told = shared_server.control("GET", "/openapi.json")
    assert told["openapi"].startswith("3.1")
    assert "/v1/models/{model}/rollout" in told["paths"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"version": "1", "plan": ' + b'{"a": ' * 5_000 + b"1" + b"}" * 5_001, 400, "malformed_json"),
        (b'{"version": "1", "plan": ' + b'{"a": ' * 600 + b"1" + b"}" * 601, 400, "invalid_plan"),
        (b"[]", 400, "invalid_request"),
        (b'{"version": true}', 400, "invalid_request"),
        (b" " * ((1 << 20) + 1), 413, "too_large"),
        (b'{"version": "99"}', 404, "version_not_found"),
    ],
)
def test_starts_that_are_refused(shared_server: Server, body: bytes, status: int, reason: str) -> None:
    """With status, reason and sentence."""
    reply = exchange(shared_server.control_port, "POST", "/v1/models/double/rollout", body)
    assert (reply.status, reply.json()["reason"]) == (status, reason)
    assert len(reply.json()["error"]) > 10


def test_an_old_version_is_started_again(shared_server: Server) -> None:
    """Real bytes, from the sealed copy; the plan sent along counts."""
    for factor in (2, 3):
        shared_server.deploy("api_start", onnx_models.scale(factor).SerializeToString())
    body = json.dumps({"version": "1", "plan": {"rollout": {"strategy": "instant", "undo_window": "1h"}}}).encode()
    started = shared_server.control("POST", "/v1/models/api_start/rollout", body)
    ended = shared_server.settled(started["id"])
    assert (ended["phase"], ended["from"]["version"], ended["to"]["version"]) == ("watching", "2", "1")
    assert shared_server.model("api_start")["active"] == "1"
    assert shared_server.control("GET", f"/v1/rollouts/{started['id']}/explain")["sentences"]
