"""The section `sequence` as people write it: what follows from what they leave out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from changeover.sequences.section import Declared


def declared(**said: Any) -> Declared:
    return msgspec.convert({"state": [{"input": "h", "output": "hn"}], **said}, Declared)


@pytest.mark.parametrize(
    ("said", "way"),
    [
        ({}, "carry"),
        ({"on_changeover": "drain"}, "drain"),
        ({"on_changeover": "reset"}, "reset"),
        ({"on_changeover": "replay"}, "replay"),
        ({"on_changeover": "map", "map": [{"rename": {"h": "s"}}]}, "map"),
        ({"on_changeover": "map", "map": [{"graph": "g.onnx"}], "map_back": [{"graph": "b.onnx"}]}, "map"),
        ({"on_changeover": "map", "map": [{"graph": "g.onnx"}]}, "drain"),
        ({"on_changeover": "map", "map": [{"graph": "g.onnx"}], "replay": 8}, "replay"),
    ],
)
def test_the_way_back(said: dict[str, Any], way: str) -> None:
    """A map without an inverse is never carried back: replay where inputs are kept, else drain."""
    assert declared(**said).way_back == way


@pytest.mark.parametrize(("said", "kept"), [({}, 0), ({"on_changeover": "replay"}, 16), ({"replay": 3}, 3)])
def test_how_many_inputs_are_kept(said: dict[str, Any], kept: int) -> None:
    """None unless they are asked for, or needed for a replay."""
    assert declared(**said).kept == kept


@pytest.mark.parametrize("said", [{"on_changeover": "move"}, {"map": [{"twist": {}}]}, {"maximum": 3}, {"idle": 0}])
def test_what_is_no_declaration_is_refused(said: dict[str, Any]) -> None:
    """An unknown word would be silently without effect."""
    with pytest.raises(msgspec.ValidationError):
        declared(**said)
