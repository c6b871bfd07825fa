"""`changeover schema`: what a plan may say, as JSON Schema for editors or as a table for people. Needs no server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from changeover.cli.exits import Exit
from changeover.cli.options import Output
from changeover.cli.output import Format, show, table

Document = dict[str, Any]


def schema(output: Output = Format.JSON) -> int:
    """Print the JSON Schema of a plan (model.yaml); with -o table its fields with their defaults.

    For example:

        changeover schema > model.schema.json

        changeover schema -o table
    """
    from changeover.rollout.plan_schema import plan_schema

    document = plan_schema()
    show(document, output, lambda: fields_table(document))
    return Exit.DONE


def fields_table(document: Document) -> RenderableType:
    """Return every field of a plan with what it takes and its default."""
    made = table("field", "takes", "default")
    for path, taken, default in _fields(document, document, ""):
        made.add_row(path, taken, default)
    return made


def _fields(document: Document, part: Document, above: str) -> Iterator[tuple[str, str, str]]:
    for name, field in part["properties"].items():
        path = f"{above}{name}"
        section = _section(document, field)
        if section is not None:
            yield from _fields(document, section, f"{path}.")
        else:
            yield path, _taken(document, field), _default(field)


def _section(document: Document, field: Document) -> Document | None:
    """The object that a field refers to, if it is nothing else."""
    found = _followed(document, field)
    return found if found.get("type") == "object" and "properties" in found else None


def _followed(document: Document, field: Document) -> Document:
    reference = field.get("$ref") or (field.get("allOf") or [{}])[0].get("$ref")
    found: Document = document["$defs"][reference.rpartition("/")[2]] if reference else field
    return found


def _taken(document: Document, field: Document) -> str:
    """What may stand there, in words: `number 0 to 1, or text`."""
    found = _followed(document, field)
    choices = found.get("anyOf")
    if choices:
        return " or ".join(dict.fromkeys(_taken(document, choice) for choice in choices))
    if "enum" in found:
        return ", ".join(str(value) for value in found["enum"])
    if "const" in found:
        return str(found["const"])
    if found.get("type") == "array":
        return f"list of {_taken(document, found['items'])}"
    if found.get("type") == "object" and "properties" not in found:
        return f"{_taken(document, found['additionalProperties'])} by name"
    if found.get("type") == "object":
        return "{" + ", ".join(found["properties"]) + "}"
    return _simple(found)


def _simple(field: Document) -> str:
    if "pattern" in field:
        units = field["pattern"].rpartition(" ?")[2].strip("()$")
        return f"text ending in {units.replace('|', ', ')}"
    kind = "null" if field.get("type") is None else str(field["type"])
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum", field.get("exclusiveMaximum"))
    if low is None and high is None:
        return kind
    return f"{kind} from {_value(low)}" + (f" to {_value(high)}" if high is not None else "")


def _default(field: Document) -> str:
    return _value(field["default"]) if "default" in field else "-"


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value)
    if isinstance(value, dict):  # a step, with nothing of its own
        weight = value.get("weight", value or "{}")
        return f"{weight * 100:g}%" if isinstance(weight, float) else str(weight)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | int):
        return f"{value:.15g}"
    return "null" if value is None else str(value)
