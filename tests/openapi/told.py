"""What a document tells, and what the operations page says of the same words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OPERATIONS = Path(__file__).parent.parent.parent / "docs" / "operations.md"


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def reasons(operation: dict[str, Any]) -> dict[int, set[str]]:
    """The reasons of an operation's errors, by status."""
    return {
        int(status): set(re.findall(r"`(\w+)`", told["description"]))
        for status, told in operation["responses"].items()
        if "Error: " in told["description"]
    }


def pairs(document: dict[str, Any]) -> set[tuple[str, int]]:
    """Every reason with its status."""
    return {
        (reason, status)
        for _, _, operation in operations(document)
        for status, words in reasons(operation).items()
        for reason in words
    }


def statuses() -> dict[str, set[int]]:
    """The statuses of a reason as the tables of the operations page have them; none where it has no status."""
    found: dict[str, set[int]] = {}
    for line in _OPERATIONS.read_text().split("\n## Errors\n")[1].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) >= 5 and cells[1].startswith("`"):
            for word in re.findall(r"`(\w+)`", cells[1]):
                numbers = f"{cells[2]} {' '.join(re.findall(r'is ([45][0-9]{2})', cells[3]))}"
                found.setdefault(word, set()).update(int(n) for n in re.findall(r"\b[45][0-9]{2}\b", numbers))
    return found


def references(value: object) -> list[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [reference for part in value.values() for reference in references(part)]
    return [reference for part in value for reference in references(part)] if isinstance(value, list) else []
