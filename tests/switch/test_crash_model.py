"""Exhaustive search over the switch: no order of steps, crashes, deaths and disk failures breaks a promise."""

from __future__ import annotations

import gc
from collections import deque

import pytest

from tests.switch.model import Rules, World, broken, following

Reached = dict[World, tuple[World, str] | None]


def search(rules: Rules, start: World) -> tuple[Reached, list[str]]:
    """All worlds reached, and the shortest way to a broken promise (empty when there is none)."""
    gc.disable()  # whatever is made stays, so looking for what does not is a sixth of the time for nothing
    try:
        return _searched(rules, start)
    finally:
        gc.enable()


def _searched(rules: Rules, start: World) -> tuple[Reached, list[str]]:
    reached: Reached = {start: None}
    waiting = deque([start])
    while waiting:
        world = waiting.popleft()
        for name, after in following(world, rules):
            way = world, name
            if reached.setdefault(after, way) is not way:
                continue
            promise = broken(world, after)
            if promise:
                return reached, [*_way(reached, after), promise]
            waiting.append(after)
    return reached, []


def _way(reached: Reached, world: World) -> list[str]:
    names: list[str] = []
    while (step := reached[world]) is not None:
        world, name = step
        names.append(name)
    return names[::-1]


@pytest.mark.parametrize(
    ("crashes", "deaths", "failures"),
    [(2, 0, 0), (1, 0, 1), pytest.param(1, 1, 1, marks=pytest.mark.slow)],
)
def test_no_promise_can_be_broken(crashes: int, deaths: int, failures: int) -> None:
    """Whatever happens, and whenever: every world keeps the promises, and the search really went everywhere."""
    reached, way = search(Rules(), World(crashes=crashes, deaths=deaths, failures=failures))
    assert way == []
    assert {world.released for world in reached} == {"", "A", "B"}
    assert {world.step for world in reached} == {"idle", "intended", "published", "decided", "dead"}
    assert {world.owes for world in reached} == {False, bool(failures)}
    assert {bool(world.ghosts) for world in reached} == {False, bool(deaths)}
    assert any(world.page < world.committed.epoch for world in reached)
    assert any(world.page > world.committed.epoch for world in reached) is bool(failures)


@pytest.mark.parametrize(
    ("safeguard", "start", "promise"),
    [
        ("prepare_before_commit", World(0, 0, 0), "the page names a table that a gateway has not got"),
        ("join_loads_later_tables", World(0, 1, 0), "the page names a table that a gateway has not got"),
        ("commit_waits_for_joining", World(0, 1, 0), "the page names a table that a gateway has not got"),
        ("drain_by_acknowledgements", World(0, 0, 0), "a released version has a lease"),
        ("drain_waits_for_joining", World(0, 1, 0), "a released version has a lease"),
        ("acknowledge_between_picks", World(0, 0, 0), "a released version has a lease"),
        ("dead_gateways_are_seen", World(0, 1, 0), "a released version's worker still had a dead gateway's requests"),
        ("epochs_are_never_reused", World(1, 0, 0), "a gateway has another table under the page's epoch"),
        ("page_never_goes_back", World(1, 0, 1), "an epoch went back"),
    ],
)
def test_each_safeguard_is_needed(safeguard: str, start: World, promise: str) -> None:
    """Negative control: with one safeguard off, the search finds a way to break a promise."""
    _, way = search(Rules(**{safeguard: False}), start)
    assert way
    assert way[-1] == promise


def test_every_safeguard_has_its_control() -> None:
    """No safeguard of the model is without a test that it is needed."""
    marks = [mark for mark in test_each_safeguard_is_needed.pytestmark if mark.name == "parametrize"]
    assert sorted(case[0] for case in marks[0].args[1]) == sorted(Rules._fields)
