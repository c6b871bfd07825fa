"""Words of the route page."""

from __future__ import annotations

import pytest

from changeover.controller import words
from changeover.errors import InvalidRequest
from changeover.transport.page import SERVER_WORD, WORDS


def test_the_first_free_word_is_given_until_none_is_left() -> None:
    """Never the server's own; a full page says so with a stable reason."""
    used = {f"m{i}": i for i in range(SERVER_WORD + 1, WORDS)}
    assert words.free({}) == SERVER_WORD + 1
    gap = used.pop("m7")
    assert words.free(used) == gap
    with pytest.raises(InvalidRequest) as caught:
        words.free({**used, "m7": gap})
    assert caught.value.reason == "too_many_models"
