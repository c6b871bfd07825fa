"""The JSON Schema of a plan, for editors and for `changeover schema`. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from changeover.rollout.plan import Plan
from changeover.rollout.plan_quantities import QUANTITIES, STEP_QUANTITIES
from changeover.rollout.quantities import seconds, share, size_bytes

_NUMBER: Final = "^[0-9]+(\\.[0-9]+)? ?"
_PATTERNS: Final[dict[Callable[[object], float], str]] = {
    seconds: _NUMBER + "(ms|s|m|h|d)$",
    share: _NUMBER + "%$",
    size_bytes: _NUMBER + "(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$",
}


def plan_schema() -> dict[str, Any]:
    """The schema of `model.yaml`: draft 2020-12, quantities as numbers or as words such as `30s`."""
    _, parts = msgspec.json.schema_components([Plan], ref_template="#/$defs/{name}")
    for path, convert in QUANTITIES.items():
        *above, field = path.split(".")
        _widen(_owner(parts, above), field, _PATTERNS[convert])
    step = parts["PlanStep"]["properties"]
    for field, convert in STEP_QUANTITIES.items():
        _widen(step, field, _PATTERNS[convert])
    steps = parts["RolloutPlan"]["properties"]["steps"]
    steps["items"] = {"anyOf": [steps["items"], step["weight"]]}
    top = parts.pop("Plan")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "model.yaml", **top, "$defs": parts}


def _owner(parts: dict[str, Any], above: list[str]) -> dict[str, Any]:
    """The properties of the section that a path leads to."""
    properties: dict[str, Any] = parts["Plan"]["properties"]
    for name in above:
        properties = parts[_name_of(properties[name])]["properties"]
    return properties


def _name_of(reference: dict[str, Any]) -> str:
    choices = reference.get("allOf") or reference.get("anyOf") or [reference]
    found = next(choice["$ref"] for choice in choices if "$ref" in choice)
    return str(found).rpartition("/")[2]


def _widen(properties: dict[str, Any], field: str, pattern: str) -> None:
    """Let a field be written as a word, too."""
    schema = dict(properties[field])
    default = {"default": schema.pop("default")} if "default" in schema else {}
    choices = schema.pop("anyOf", None) or [schema]
    properties[field] = {"anyOf": [*choices, {"type": "string", "pattern": pattern}], **default}
