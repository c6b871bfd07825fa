"""Remarks on sequences: what a plan does to them at a changeover, and at a rollback."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from changeover.rollout.lint_sequence import of_sequence
from changeover.rollout.plan_rollout import RolloutPlan
from changeover.sequences.section import Declared

CROP = {"crop": {"h": {"after": 2}}}


def remarks(**said: Any) -> list[tuple[str, str]]:
    declared = msgspec.convert({"state": [{"input": "h", "output": "hn"}], **said}, Declared)
    return [(remark.path, remark.sentence) for remark in of_sequence(declared, RolloutPlan())]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"on_changeover": "map", "map": [{"rename": {"h": "s"}}]},
        {"on_changeover": "map", "map": [CROP], "map_back": [{"pad": {"h": {"after": 2}}}]},
    ],
)
def test_nothing_to_say(said: dict[str, Any]) -> None:
    """A carry, and maps that can be undone."""
    assert remarks(**said) == []


def test_a_map_without_an_inverse() -> None:
    """The remark names the steps, and says what a rollback does instead: by rule drain, or replay of kept inputs."""
    graph = {"graph": "g.onnx"}
    ((path, sentence),) = remarks(on_changeover="map", map=[{"scale": {"h": 2.0}}, CROP, graph])
    assert path == "$.sequence.map"
    assert sentence.startswith("crop and graph cannot be undone")
    assert "takes no live sequence back" in sentence
    ((_, sentence),) = remarks(on_changeover="map", map=[CROP], replay=8)
    assert "replays the last 8 inputs" in sentence


@pytest.mark.parametrize(
    ("said", "path", "words"),
    [
        ({"on_changeover": "map"}, "on_changeover", "like carry"),
        ({"map": [CROP]}, "map", "carry no step of a map is used"),
        ({"map_back": [CROP]}, "map_back", "carry no step of a map is used"),
        ({"on_changeover": "reset"}, "on_changeover", "lose their state"),
        ({"on_changeover": "replay", "replay": 5}, "on_changeover", "the last 5 inputs"),
        ({"on_changeover": "drain"}, "on_changeover", "stays until the last sequence"),
        ({"replay": 5}, "replay", "replays none"),
    ],
)
def test_what_happens_is_said(said: dict[str, Any], path: str, words: str) -> None:
    """One remark, at the field that it is about."""
    ((where, sentence),) = remarks(**said)
    assert where == f"$.sequence.{path}"
    assert words in sentence
