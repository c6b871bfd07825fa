"""The published schema says of a plan what the parser says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from changeover.rollout.plan import Plan
from changeover.rollout.plan_quantities import QUANTITIES
from changeover.rollout.plan_schema import plan_schema


def properties(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """What the schema says of a field, through references."""
    found = schema
    for name in path.split("."):
        found = found["properties"][name]
        choices = found.get("allOf") or found.get("anyOf") or [found]
        reference = next((choice["$ref"] for choice in choices if "$ref" in choice), None)
        if reference:
            found = schema["$defs"][reference.rpartition("/")[2]]
    return found


def test_it_is_json_and_names_every_section() -> None:
    """Of draft 2020-12; a field that nobody knows is refused by it too."""
    schema = json.loads(json.dumps(plan_schema()))
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) == {
        "rollout", "runtime", "gates", "private", "labels", "interface", "sequence", "adaptive",
    }  # fmt: skip
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("path", QUANTITIES)
def test_quantities_may_be_words(path: str) -> None:
    """A number, or text of a pattern that its own reader takes."""
    found = properties(plan_schema(), path)
    kinds = {choice.get("type") for choice in found["anyOf"]}
    assert {"string"} < kinds
    pattern = next(choice["pattern"] for choice in found["anyOf"] if choice.get("type") == "string")
    words = [word for word in ("30s", "1.5 h", "2GiB", "0.1%", "5 %", "fast", "5") if re.search(pattern, word)]
    assert len(words) in (1, 2)
    for word in words:
        assert QUANTITIES[path](word) > 0


def test_steps_may_be_short() -> None:
    """A word, a share, or an object with both."""
    steps = properties(plan_schema(), "rollout")["properties"]["steps"]
    short = steps["items"]["anyOf"][1]
    assert {"enum": ["shadow"]} in short["anyOf"]
    assert {"number", "string"} <= {choice.get("type") for choice in short["anyOf"]}


def test_the_defaults_are_those_of_the_plan() -> None:
    """What is left out is shown."""
    hold = properties(plan_schema(), "rollout.hold")
    assert hold["default"] == Plan().rollout.hold
