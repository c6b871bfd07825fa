"""What is told of one route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"
OTHERS: Final = "…"
"""Among the reasons of a status: there are more, such as the reason of the rollout that was asked for."""

Schema = Mapping[str, Any]
Content = Mapping[str, "type[msgspec.Struct] | Schema"]
"""The form of a body by media type: one of our types, or a JSON Schema."""
Errors = Mapping[int, tuple[str, ...]]
"""Reason words by status."""


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every error: `error` is a sentence for people, `reason` a stable word for programs."""

    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a route; one in the path is always needed, any other never."""

    name: str
    place: Literal["path", "query", "header"]
    description: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        name: unique, for generators of clients.
        scope: that a token needs; None where everybody may ask.
        gives: bodies of the answers that are no errors, by status.
        errors: reasons of the errors, by status.
        takes: body of the request; empty for none.
        headers: of a good answer: description by name.
    """

    method: str
    path: str
    name: str
    summary: str
    scope: str | None
    gives: Mapping[int, Content]
    errors: Errors
    parameters: tuple[Parameter, ...] = ()
    takes: Content | None = None
    headers: Mapping[str, str] | None = None


def json_of(body: type[msgspec.Struct] | Schema | None = None) -> Content:
    """JSON of this form; None for any object."""
    return {JSON: {"type": "object"} if body is None else body}


def together(*some: Errors) -> Errors:
    """All of these errors, by status in order; a reason once."""
    found: dict[int, dict[str, None]] = {}
    for errors in some:
        for status, reasons in errors.items():
            found.setdefault(status, {}).update(dict.fromkeys(reasons))
    return {status: tuple(found[status]) for status in sorted(found)}
