"""Rows of the control port's table."""

from __future__ import annotations

import json

from changeover.controller.bodies import VersionName
from changeover.controller.endpoint import answer


def test_an_answer_is_json() -> None:
    """Types and plain values alike, with a status."""
    made = answer({"version": VersionName(version="1", digest="ab")}, 202)
    assert (made.status_code, made.media_type) == (202, "application/json")
    assert json.loads(made.body) == {"version": {"version": "1", "digest": "ab"}}
