"""`changeover model diff`: exit code, table and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from changeover.cli.main import run
from changeover.rollout.plan import plan_of
from tests.interface.adapting import DOUBLE, FLOAT, image_model
from tests.workbench.files import shaped, written


def test_models_that_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the table says so."""
    path = written(tmp_path, "m", image_model())
    assert run(["model", "diff", path, path]) == 0
    printed = capsys.readouterr().out
    assert "clients of the old model can use the new one" in printed
    assert "2 of 2 parameters are the same" in printed


def test_the_proposed_steps_can_be_copied_into_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1; what follows `interface:` is YAML that a plan takes, remarks and all."""
    old = written(tmp_path, "old", shaped(("picture", DOUBLE, ["N", 28, 28])))
    new = written(tmp_path, "new", shaped(("image", FLOAT, ["N", 1, 28, 28])))
    assert run(["model", "diff", old, new]) == 1
    printed = capsys.readouterr().out
    assert "clients of the old model cannot use the new one" in printed
    block = printed[printed.index("interface:") : printed.index("with these steps they can")]
    assert [step.kind for step in plan_of(yaml.safe_load(block)).interface] == ["rename", "unsqueeze", "cast"]


def test_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as one document."""
    old = written(tmp_path, "old", shaped(("x", FLOAT, ["N", 28])))
    new = written(tmp_path, "new", shaped(("x", FLOAT, ["N", 29])))
    assert run(["model", "diff", old, new, "-o", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["differences"] == ["input 'x' takes [any, 29], not all of [any, 28]"]
    assert document["undecided"]


def test_no_model_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is said to be so."""
    assert run(["model", "diff", str(tmp_path / "a"), str(tmp_path / "b")]) not in (0, 64)
    assert "There is no model file" in capsys.readouterr().err
