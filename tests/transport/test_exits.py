"""What an exit code says."""

from __future__ import annotations

import pytest

from changeover.transport.exits import how


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (-11, "SIGSEGV"), (-9, "SIGKILL"), (-40, "signal 40"), (-200, "signal 200")]
)
def test_exit_codes_in_words(code: int, text: str) -> None:
    """As an operator would say it; a signal of real time has a number only."""
    assert how(code) == text
