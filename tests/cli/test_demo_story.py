"""The verdict of the demo: everything must hold, and each thing that does not is named."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.cli.demo_story import _checks, _event

RESULT: dict[str, Any] = {
    "requests": 1000,
    "failed": 0,
    "shed": 0,
    "wrong": 0,
    "wrong_version": 0,
    "versions": {"1": {}, "2": {}, "4": {}},
}
THIRD = {"phase": "failed", "gates": [{"gate": "warmup", "result": "passed"}, {"gate": "accuracy", "result": "failed"}]}
ROLLOUTS: dict[str, Any] = {"2": {"phase": "watching"}, "3": THIRD, "4": {"phase": "rolled_back"}}
CERTIFICATE = {"requests": {"total": 500, "failed": 0}}


def test_all_well() -> None:
    """With nothing failed, version 2 active, version 3 refused and version 4 taken back, every check passes."""
    assert set(_checks(RESULT, CERTIFICATE, "2", ROLLOUTS).values()) == {True}


@pytest.mark.parametrize(
    ("result", "certificate", "active", "rollouts", "word"),
    [
        ({"failed": 1}, CERTIFICATE, "2", {}, "no request failed"),
        ({"requests": 0}, CERTIFICATE, "2", {}, "no request failed"),
        ({"wrong": 1}, CERTIFICATE, "2", {}, "values"),
        ({"wrong_version": 1}, CERTIFICATE, "2", {}, "values"),
        ({"versions": {"1": {}, "2": {}}}, CERTIFICATE, "2", {}, "version 3 never"),
        ({"versions": {"1": {}, "2": {}, "3": {}, "4": {}}}, CERTIFICATE, "2", {}, "version 3 never"),
        ({}, CERTIFICATE, "3", {}, "version 2 serves"),
        ({}, CERTIFICATE, "2", {"3": {"phase": "watching"}}, "accuracy gate"),
        ({}, CERTIFICATE, "2", {"3": {"gates": [{"gate": "warmup", "result": "failed"}]}}, "accuracy gate"),
        ({}, CERTIFICATE, "2", {"4": {"phase": "watching"}}, "taken back"),
        ({}, {"requests": {"total": 500, "failed": 1}}, "2", {}, "certificate"),
        ({}, {"requests": None}, "2", {}, "certificate"),
        ({}, None, "2", {}, "certificate"),
    ],
)
def test_each_thing_that_is_not_well(
    result: dict[str, Any],
    certificate: dict[str, Any] | None,
    active: str,
    rollouts: dict[str, dict[str, Any]],
    word: str,
) -> None:
    """One thing that went wrong fails exactly the check that speaks of it."""
    checks = _checks(RESULT | result, certificate, active, ROLLOUTS | rollouts)
    failed = [name for name, passed in checks.items() if not passed]
    assert len(failed) == 1
    assert word in failed[0]


@pytest.mark.parametrize(
    ("rollout", "words"),
    [
        ({"phase": "validating"}, "version 4: validating"),
        ({"phase": "progressing", "step": {"name": "5%"}}, "version 4: 5%"),
        ({"phase": "watching", "step": {"name": "100%"}}, "version 4 serves"),
        ({"phase": "failed", "reason": "accuracy"}, "version 4 refused: accuracy"),
        ({"phase": "rolled_back", "reason": "error_rate"}, "version 4 taken back: error_rate"),
    ],
)
def test_events_in_a_few_words(rollout: dict[str, Any], words: str) -> None:
    """Each fits the row of its second."""
    assert _event("4", rollout) == words
