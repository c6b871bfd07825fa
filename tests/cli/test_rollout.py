"""`changeover rollout status`: looking and waiting."""

from __future__ import annotations

import pytest

from changeover.cli.main import run
from tests.cli.fake import ROLLOUT, usual


@pytest.mark.parametrize(
    ("phase", "wait", "code"),
    [
        ("validating", False, 0),
        ("failed", False, 0),
        ("failed", True, 1),
        ("rolled_back", True, 1),
        ("watching", True, 0),
        ("succeeded", True, 0),
        ("validating", True, 3),
    ],
)
def test_exit_codes(phase: str, wait: bool, code: int) -> None:
    """Looking always exits 0; waiting exits 0 only on success."""
    with usual() as fake:
        fake.answers["GET /v1/models/digits/rollout"] = (200, ROLLOUT | {"phase": phase})
        fake.answers["GET /v1/rollouts/r-000002"] = (200, ROLLOUT | {"phase": phase})
        waiting = ["--wait", "--timeout", "0.3"] if wait else []
        assert run(["rollout", "status", "digits", *waiting, "--control", fake.url]) == code
