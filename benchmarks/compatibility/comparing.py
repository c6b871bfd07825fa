"""Compares two servers' answers fact by fact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from compatibility.answers import Facts
from compatibility.differences import REASONS, Reason
from compatibility.recording import Recording

ABSENT = "-"
_OUTCOMES = ("status", "code")


class Difference(NamedTuple):
    """A fact that differs."""

    fact: str
    theirs: Any
    ours: Any


class Compared(NamedTuple):
    """A request's answers, compared.

    Attributes:
        differences: none when they are identical.
        reasons: that explain all of them; empty when one is not explained.
        fine: the reference gave what was asked for.
    """

    name: str
    differences: tuple[Difference, ...]
    reasons: tuple[Reason, ...]
    fine: bool

    @property
    def verdict(self) -> str:
        """In one word."""
        if not self.differences:
            return "identical"
        return "explained" if self.reasons else "unexplained"


def compare(recording: Recording) -> list[Compared]:
    """All requests, in the order they were sent in."""
    return [_compared(name, recording.theirs[name], recording.ours[name]) for name in recording.theirs]


def _compared(name: str, theirs: Facts, ours: Facts) -> Compared:
    found = tuple(_differences(theirs, ours))
    reasons = [reason for reason in REASONS if name in reason.requests]
    explained = all(any(reason.covers(difference.fact) for reason in reasons) for difference in found)
    used = tuple(reason for reason in reasons if any(reason.covers(difference.fact) for difference in found))
    return Compared(name, found, used if explained else (), _fine(theirs))


def _fine(facts: Facts) -> bool:
    return "error" not in facts and facts.get("status", 200) == 200


def _differences(theirs: Facts, ours: Facts) -> Iterator[Difference]:
    """Where the outcome differs, nothing else is looked at: an error has no outputs."""
    for outcome in _OUTCOMES:
        if theirs.get(outcome) != ours.get(outcome):
            yield Difference(outcome, theirs.get(outcome), ours.get(outcome))
            return
    a, b = (dict(_flat(_told(facts))) for facts in (theirs, ours))
    if theirs.get("error") == "" and ours.get("error"):
        a["error"] = b["error"]
    for fact in {**a, **b}:
        if a.get(fact, ABSENT) != b.get(fact, ABSENT):
            yield Difference(fact, a.get(fact, ABSENT), b.get(fact, ABSENT))


def _told(facts: Facts) -> Facts:
    """Without what is not compared: an error's words and content type."""
    left_out = ("words", "content-type") if "error" in facts else ("words",)
    return {fact: value for fact, value in facts.items() if fact not in left_out}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{index}]")
    else:
        yield name, value
