"""Rollouts in words, and the exit codes of their phases."""

from __future__ import annotations

import pytest

from changeover.cli.rollouts import exit_of, percent, sentence, way_of
from tests.cli.statuses import FAILED, FIRST, PROGRESSING


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        *((phase, None) for phase in ("pending", "validating", "shadowing", "progressing", "paused", "promoting")),
        ("rolling_back", None),
        ("watching", 0),
        ("succeeded", 0),
        ("rolled_back", 1),
        ("failed", 2),
    ],
)
def test_the_exit_code_of_a_phase(phase: str, code: int | None) -> None:
    """Only an outcome has one."""
    assert exit_of({"phase": phase}) == code


def test_words() -> None:
    """One line, from and to, shares as in a plan."""
    assert sentence(PROGRESSING) == "r-000004 digits 1 → 2 progressing 5% (step 3 of 6)"
    assert sentence(FAILED).endswith("failed: output scores holds NaN or infinite values at batch size 1")
    assert way_of(FIRST) == "nothing → 2@e278"
    assert [percent(buckets) for buckets in (0, 1, 50, 1250, 10_000)] == ["0%", "0.01%", "0.5%", "12.5%", "100%"]
