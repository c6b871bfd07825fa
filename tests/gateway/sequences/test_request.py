"""What a step is of."""

from __future__ import annotations

import pytest

from changeover.gateway.sequences.asked import Asked
from changeover.gateway.sequences.course import Wish
from changeover.gateway.sequences.line import Line
from changeover.gateway.sequences.request import Request
from changeover.sequences.saved import Token


@pytest.mark.parametrize(
    ("asked", "wish"), [(None, Wish.MOVE), (Asked(7, True, True), Wish.BEGIN), (Asked(7, False, True), Wish.STEP)]
)
def test_what_is_wanted_follows_from_the_request(asked: Asked | None, wish: Wish) -> None:
    """Without a client it is a move."""
    line = Line(bytes(16), b"\x017")
    assert Request(None, line, Token(1, 1), None, asked).wish is wish  # type: ignore[arg-type]
