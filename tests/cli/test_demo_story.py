"""The verdict of the demo: everything must hold, and each thing that does not is named."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.cli.demo_story import _checks

RESULT: dict[str, Any] = {
    "requests": 1000,
    "failed": 0,
    "shed": 0,
    "wrong": 0,
    "wrong_version": 0,
    "stale": 0,
    "versions": {"1": {}, "2": {}},
}
CERTIFICATE = {"requests": {"total": 500, "failed": 0}}


def test_all_well() -> None:
    """With nothing failed, version 2 active and version 3 refused, every check passes."""
    assert set(_checks(RESULT, CERTIFICATE, "2", "failed").values()) == {True}


@pytest.mark.parametrize(
    ("result", "certificate", "active", "third", "word"),
    [
        ({"failed": 1}, CERTIFICATE, "2", "failed", "no request failed"),
        ({"requests": 0}, CERTIFICATE, "2", "failed", "no request failed"),
        ({"wrong": 1}, CERTIFICATE, "2", "failed", "values"),
        ({"wrong_version": 1}, CERTIFICATE, "2", "failed", "values"),
        ({"stale": 1}, CERTIFICATE, "2", "failed", "old version"),
        ({"versions": {"1": {}}}, CERTIFICATE, "2", "failed", "both versions"),
        ({}, CERTIFICATE, "3", "failed", "version 2 serves"),
        ({}, CERTIFICATE, "2", "watching", "refused"),
        ({}, {"requests": {"total": 500, "failed": 1}}, "2", "failed", "certificate"),
        ({}, {"requests": None}, "2", "failed", "certificate"),
        ({}, None, "2", "failed", "certificate"),
    ],
)
def test_each_thing_that_is_not_well(
    result: dict[str, Any], certificate: dict[str, Any] | None, active: str, third: str, word: str
) -> None:
    """One thing that went wrong fails exactly the check that speaks of it."""
    failed = [name for name, passed in _checks(RESULT | result, certificate, active, third).items() if not passed]
    assert len(failed) == 1
    assert word in failed[0]
