"""A remark is a value."""

from __future__ import annotations

from changeover.rollout.remark import Remark


def test_remarks_with_the_same_words_are_one() -> None:
    """They are compared by what they say."""
    assert {Remark("$.a", "b"), Remark("$.a", "b")} == {Remark("$.a", "b")}
