"""Every verb is one request that the control port's table knows."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest

from changeover.client.ask import Ask
from changeover.client.verbs import ControlVerbs
from changeover.controller.api import endpoints
from changeover.controller.service import Service


class Seen(ControlVerbs[Ask, Ask]):
    """Gives back what would be asked."""

    def _one(self, ask: Ask) -> Ask:
        return ask

    def _many(self, ask: Ask, member: str) -> Ask:
        return ask


CALLS: dict[str, tuple[Any, ...]] = {
    "models": (),
    "model": ("m",),
    "start": ("m", "4"),
    "status": ("m",),
    "history": ("m",),
    "pause": ("m",),
    "resume": ("m",),
    "promote": ("m",),
    "abort": ("m",),
    "undo": ("m",),
    "set_weight": ("m", "25%"),
    "rollout": ("r-1",),
    "explain": ("r-1",),
    "certificate": ("r-1",),
    "sequences": ("m",),
    "sequence": ("m", 42),
    "end_sequence": ("m", "a/b"),
    "export_sequence": ("m", 42),
    "import_sequence": ("m", {}),
    "steer": ("m", "pause"),
}


def test_every_verb_is_tried() -> None:
    """The list above has them all."""
    assert {name for name in dir(ControlVerbs) if not name.startswith("_")} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_a_verb_is_a_row_of_the_table(name: str) -> None:
    """Its method and path are served."""
    ask: Ask = getattr(Seen(), name)(*CALLS[name])
    rows = [(row.method, re.sub(r"\{\w+\}", "[^/]+", row.path)) for row in endpoints(cast(Service, None))]
    assert [row for row in rows if row[0] == ask.method and re.fullmatch(row[1], ask.path)]
    assert ask.repeatable == (ask.method == "GET")


def test_what_is_sent() -> None:
    """Versions, plans and shares as the control port takes them."""
    start = Seen().start("m", "4", {"rollout": {"hold": "1s"}}).body
    assert isinstance(start, bytes)
    assert json.loads(start) == {"version": "4", "plan": {"rollout": {"hold": "1s"}}}
    assert Seen().set_weight("m", 0.25).body == b'{"weight": 0.25}'
