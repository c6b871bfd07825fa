"""`changeover schema`: the plan's fields for editors and for people."""

from __future__ import annotations

import json

import pytest

from changeover.cli.main import run
from changeover.rollout.plan_schema import plan_schema


def test_json_is_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Without options it goes into a file that an editor reads."""
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(plan_schema()))


def test_the_table_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    """By its path, with what it takes and its default."""
    assert run(["schema", "-o", "table"]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "rollout.undo_window number from 0 to 2592000 or text ending in ms, s, m, h, d 600" in shown
    assert "runtime.optimization all, basic, extended, off all" in shown
    assert "gates.warmup.finite boolean true" in shown
    assert any(line.endswith("shadow, 1%, 5%, 25%, 50%, 100%") for line in shown)
