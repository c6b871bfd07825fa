"""Without a golden set a candidate is tried on recent live requests, beside the active version."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from changeover.testing import Server, exchange
from tests import onnx_models
from tests.conftest import Serve

ROWS = np.random.default_rng(5).random((60, 4), np.float32)


def scaled(factor: float) -> bytes:
    """`y = factor * x`."""
    data: bytes = onnx_models.scale(factor).SerializeToString()
    return data


GOOD = scaled(2)


def relabelled() -> bytes:
    """`scale`, whose classes have changed places: every answer looks well, and nearly each is wrong."""
    model = onnx_models.scale(2)
    model.graph.node[0].output[0] = "scaled"
    model.graph.node.append(helper.make_node("Gather", ["scaled", "places"], ["y"], axis=1))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3, 0]), "places"))
    data: bytes = model.SerializeToString()
    return data


def ask(server: Server, model: str, rows: np.ndarray = ROWS, *, path: str = "") -> None:
    """One request a row, all answered well."""
    for row in rows:
        body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": row.tolist()}]}
        reply = exchange(server.http_port, "POST", f"/v2/models/{model}{path}/infer", json.dumps(body).encode())
        assert reply.status == 200, reply.body


def accuracy(rollout: dict[str, Any]) -> dict[str, Any]:
    """What the gate said."""
    found: dict[str, Any] = next(g for g in rollout["gates"] if g["gate"] == "accuracy")
    return found


def test_a_version_with_other_labels_is_refused_and_an_equal_one_passes(serve: Serve) -> None:
    """From what both gateways kept; the interval is on record, and the refused one gets no request."""
    server = serve(gateways=2)
    server.deploy("m", GOOD)
    ask(server, "m")
    passed = server.deploy("m", scaled(3))
    told = accuracy(passed)
    assert (passed["phase"], told["result"]) == ("watching", "passed"), passed
    evidence = told["evidence"]
    assert (evidence["metric"], evidence["value"], evidence["of"], evidence["failures"]) == ("agreement", 1, 60, 0)
    assert evidence["high"] == 1 > evidence["min"] == 0.99 > evidence["low"] > 0.5
    assert 20 <= evidence["samples"] <= 60  # two gateways' samples are weighed by what they stand for
    rollout = server.deploy("m", relabelled())
    assert (rollout["phase"], rollout["reason"]) == ("failed", "agreement_low"), rollout
    assert accuracy(rollout)["evidence"]["high"] < 0.5
    assert "recent requests" in rollout["detail"]
    assert server.model("m")["active"] == "2"


@pytest.mark.parametrize(
    ("name", "plan", "rows", "path", "word"),
    [
        ("private", "private: true", 60, "", "a private model"),
        ("few", "", 19, "", "19 recent requests are too few"),
        ("pinned", "", 60, "/versions/1", "0 recent requests are too few"),
    ],
)
def test_what_cannot_be_compared_is_skipped(
    shared_server: Server, name: str, plan: str, rows: int, path: str, word: str
) -> None:
    """With the reason; the same version would be refused otherwise."""
    model = f"recent-{name}"
    shared_server.plan(model, plan)
    shared_server.deploy(model, GOOD)
    ask(shared_server, model, ROWS[:rows], path=path)
    rollout = shared_server.deploy(model, relabelled())
    told = accuracy(rollout)
    assert (rollout["phase"], told["result"]) == ("watching", "skipped"), rollout
    assert word in told["detail"]


def test_what_was_kept_is_forgotten_when_a_model_becomes_private(shared_server: Server) -> None:
    """A private version ends it; a later one that is not private begins with nothing."""
    shared_server.deploy("turns", GOOD)
    ask(shared_server, "turns")
    for plan, words in (("private: true", "a private model"), ("private: false", "a private model"), ("", "0 recent")):
        shared_server.plan("turns", plan)
        told = accuracy(shared_server.deploy("turns", GOOD))
        assert told["result"] == "skipped", told
        assert words in told["detail"]


def test_a_plan_says_how_far_answers_may_differ(shared_server: Server) -> None:
    """By `limits.disagreement`, which the shadow goes by too; or by a metric and a minimum of the gate's own."""
    plans = (
        ("rollout: {strategy: instant, limits: {disagreement: 100%}}", relabelled(), "passed"),
        ("gates: {accuracy: {metric: tolerance, tolerance: 1e-4}}", scaled(2.0001), "passed"),
        ("gates: {accuracy: {metric: tolerance}}", scaled(2.1), "failed"),
        ("gates: {accuracy: {metric: cosine}}", scaled(5), "passed"),
        ("gates: {accuracy: {metric: cosine, min: 0.5}}", scaled(-5), "failed"),
    )
    for number, (plan, data, result) in enumerate(plans):
        model = f"allowed-{number}"
        shared_server.deploy(model, GOOD)
        ask(shared_server, model)
        shared_server.plan(model, plan)
        told = accuracy(shared_server.deploy(model, data))
        assert told["result"] == result, (plan, told)


def test_a_minimum_that_recent_requests_cannot_show_is_refused(shared_server: Server) -> None:
    """As without a golden set; but a first version has nothing to agree with, and passes."""
    shared_server.plan("shown", "gates: {accuracy: {metric: agreement, min: 0.9}}")
    assert shared_server.deploy("shown", GOOD)["phase"] == "succeeded"
    rollout = shared_server.deploy("shown", scaled(3))
    assert (rollout["phase"], rollout["reason"]) == ("failed", "golden_missing"), rollout
    assert "too few" in rollout["detail"]
