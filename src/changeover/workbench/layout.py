"""Where the nodes of a graph stand: rows from top to bottom as the data flows, lanes beside each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A row and a lane, from 0."""

    row: int
    lane: int


def places(after: Mapping[str, Sequence[str]]) -> dict[str, Place]:
    """Place every node.

    Args:
        after: names of the nodes that come before each, in an order in which they run.
    """
    rows: dict[str, int] = {}
    for name, before in after.items():
        rows[name] = 1 + max((rows[one] for one in before if one in rows), default=-1)
    # What only feeds others, such as a branch of constants, stands right above what it feeds.
    feeds: dict[str, list[str]] = {name: [] for name in after}
    for name, before in after.items():
        for one in before:
            if one in feeds:
                feeds[one].append(name)
    for name in reversed(list(after)):
        if not [one for one in after[name] if one in rows] and feeds[name]:
            rows[name] = max(min(rows[one] for one in feeds[name]) - 1, rows[name])
    return _with_lanes(after, rows)


def _with_lanes(after: Mapping[str, Sequence[str]], rows: Mapping[str, int]) -> dict[str, Place]:
    """A node goes on in the lane of what it follows, unless another one does; else in the first that is free."""
    ends: list[int] = []
    last: list[str] = []
    found: dict[str, Place] = {}
    for name in sorted(after, key=lambda one: (rows[one], not after[one])):
        before = sorted((one for one in after[name] if one in found), key=lambda one: -rows[one])
        lane = next((found[one].lane for one in before if last[found[one].lane] == one), None)
        if lane is None:
            start = min((rows[one] for one in before), default=rows[name] - 1)
            lane = next((at for at, end in enumerate(ends) if end <= start), len(ends))
        if lane == len(ends):
            ends.append(-1)
            last.append("")
        ends[lane], last[lane] = rows[name], name
        found[name] = Place(rows[name], lane)
    return found
