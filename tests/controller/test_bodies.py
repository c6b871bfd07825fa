"""Bodies of the control API: what is missing or misspelt is refused, what is not measured is null."""

from __future__ import annotations

import json

import msgspec
import pytest

from changeover.controller.bodies import RolloutStatus, StartBody, VersionName
from tests.cli.statuses import ALL


@pytest.mark.parametrize("situation", ALL)
def test_the_situations_that_clients_are_tested_with_are_real(situation: str) -> None:
    """The command line's test data has the form that the server sends."""
    body = msgspec.convert(ALL[situation], RolloutStatus)
    assert json.loads(msgspec.json.encode(body)) == ALL[situation]


def test_from_and_to_are_the_names_on_the_wire() -> None:
    """`from` is a word of Python."""
    body = RolloutStatus(
        id="r-1", model="m", target=VersionName(version="1", digest="a"), phase="pending", started="t", updated="t"
    )
    assert msgspec.to_builtins(body)["to"] == {"version": "1", "digest": "a"}
    assert msgspec.to_builtins(body)["from"] is None


@pytest.mark.parametrize(
    "text", ["{}", '{"version": []}', '{"version": "1", "plam": {}}', '{"version": "1", "plan": 1}']
)
def test_a_start_that_is_none(text: str) -> None:
    """A misspelt field is never silently without effect."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=StartBody)
