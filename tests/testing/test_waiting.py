"""Waiting for a condition."""

from __future__ import annotations

import pytest

from changeover.testing.waiting import wait_for


def test_it_asks_again_until_there_is_a_value() -> None:
    """And returns that."""
    values = iter([None, 0, "", "there"])
    assert wait_for(lambda: next(values), "a value") == "there"


def test_it_gives_up_and_says_what_it_waited_for() -> None:
    """After the patience, and not before the condition was asked once."""
    asked: list[bool] = []
    with pytest.raises(TimeoutError, match=r"the end of the world: not true within 0\.02 s"):
        wait_for(lambda: asked.append(True), "the end of the world", patience=0.02)
    assert asked


def test_it_asks_as_seldom_as_it_is_told() -> None:
    """A pause as long as the patience: asked at its beginning and at its end."""
    asked: list[bool] = []
    with pytest.raises(TimeoutError):
        wait_for(lambda: asked.append(True), "nothing", patience=0.1, pause=0.1)
    assert len(asked) <= 2
