"""Exhaustive search over the switch: no order of steps, crashes, deaths and disk failures breaks a promise."""

from __future__ import annotations

from collections import deque

import pytest

from tests.switch.model import Rules, World, broken, following


def search(rules: Rules, start: World = World()) -> tuple[int, list[str]]:  # noqa: B008 - a frozen value
    """Number of worlds reached, and the shortest way to a broken promise (empty when there is none)."""
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        world = waiting.popleft()
        for name, after in following(world, rules):
            if after in came_from:
                continue
            came_from[after] = (world, name)
            promise = broken(world, after)
            if promise:
                return len(came_from), [*_way(came_from, after), promise]
            waiting.append(after)
    return len(came_from), []


def _way(came_from: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    names: list[str] = []
    while (step := came_from[world]) is not None:
        world, name = step
        names.append(name)
    return names[::-1]
