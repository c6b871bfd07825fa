"""Bodies of the control API about sequences."""

from __future__ import annotations

import msgspec
import pytest

from changeover.controller.sequence_bodies import SequenceBody


@pytest.mark.parametrize(("text", "name"), [(b'{"id": 42}', 42), (b'{"id": "42"}', "42")])
def test_an_id_is_a_number_or_a_text(text: bytes, name: int | str) -> None:
    """JSON tells them apart, and so does the body."""
    assert msgspec.json.decode(text, type=SequenceBody).id == name


@pytest.mark.parametrize("text", [b"{}", b'{"id": 1.5}', b'{"id": null}', b'{"id": 1, "name": 2}'])
def test_anything_else_is_refused(text: bytes) -> None:
    """Unknown members too."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=SequenceBody)
