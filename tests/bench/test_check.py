"""Judging an answer by its values."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.bench.check import AnswerChecker, Outcome

ONE = np.arange(12, dtype=np.float32).reshape(4, 3)
TWO = ONE + 5


@pytest.mark.parametrize(
    ("version", "values", "outcome"),
    [
        ("1", ONE[2], Outcome.OK),
        ("3", ONE[2], Outcome.OK),
        ("1", ONE[2] + 5e-4, Outcome.OK),
        ("1", TWO[2], Outcome.WRONG_VERSION),
        ("unknown", TWO[2], Outcome.WRONG_VERSION),
        ("1", ONE[1], Outcome.WRONG),
        ("1", ONE[2] + 0.1, Outcome.WRONG),
        ("1", ONE[2][:2], Outcome.WRONG),
        ("1", np.full(3, np.nan, np.float32), Outcome.WRONG),
        ("1", np.full(3, np.inf, np.float32), Outcome.WRONG),
    ],
)
def test_outcome(version: str, values: np.ndarray, outcome: Outcome) -> None:
    """Right values pass within the tolerance; another version's, another sample's and no numbers do not."""
    checker = AnswerChecker({"1": ONE, "2": TWO, "3": ONE}, 1e-3)
    assert checker.outcome(2, version, values[None]) is outcome


def test_texts_are_compared_exactly() -> None:
    """Text outputs are equal or not, whether they come as text or as bytes."""
    checker = AnswerChecker({"1": np.array([["cat"], ["dog"]])}, 1e-3)
    assert checker.outcome(1, "1", np.array([b"dog"], object)) is Outcome.OK
    assert checker.outcome(1, "1", np.array(["cat"], object)) is Outcome.WRONG
