"""`changeover rehearse`: what is rehearsed, and the whole of it with a plan that has no steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from changeover.cli.main import run
from changeover.cli.rehearse import _subject
from tests import onnx_models


def version(folder: Path) -> Path:
    """A version in a repository, with a plan and a golden set beside."""
    made = folder / "m" / "3"
    made.mkdir(parents=True)
    (made / "model.onnx").write_bytes(onnx_models.scale(2).SerializeToString())
    (made.parent / "model.yaml").write_text("rollout: {strategy: instant, undo_window: 3s}\n")
    return made


def test_the_plan_beside_the_model_counts(tmp_path: Path) -> None:
    """And the golden set comes along; --plan counts more."""
    made = version(tmp_path)
    (made.parent / "golden").mkdir()
    subject = _subject("m", made, None, None)
    assert subject.script.plan.rollout.undo_window == 3.0
    assert subject.golden == made.parent / "golden"
    assert _subject("m", made / "model.onnx", None, None) == subject
    other = tmp_path / "other.yaml"
    other.write_text("rollout: {undo_window: 4s}\n")
    assert _subject("m", made, other, None).script.plan.rollout.undo_window == 4.0


def test_without_a_file_the_highest_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the repository that the settings name."""
    made = version(tmp_path / "models")
    (made.parent / "2").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "changeover.yaml").write_text("repository: models\n")
    assert _subject("m", None, None, None).version.resolve() == made


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m"], "names a repository"),
        (["m", "--kinds", "sulk"], "'sulk' is no kind"),
        (["m", "empty"], "holds no model.onnx"),
    ],
)
def test_usage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    """What cannot be rehearsed is said before anything starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHANGEOVER_REPOSITORY", raising=False)
    (tmp_path / "empty").mkdir()
    if words.endswith("kind"):
        arguments = [*arguments, str(version(tmp_path))]
    assert run(["rehearse", *arguments]) == 64
    assert words in capsys.readouterr().err


def test_a_rehearsal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The warm-up gate stops what is wrong from the start; all of it on a server of its own."""
    arguments = [
        "rehearse",
        "m",
        str(version(tmp_path)),
        "--kinds",
        "nan@load,error@load",
        "--rate",
        "50",
        "-o",
        "json",
    ]
    assert run(arguments) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["passed"]
    assert [row["caught_by"] for row in document["summary"]] == [{"gate warmup": 1}] * 2
    assert [row["errors"] for row in document["summary"]] == [0, 0]
    assert "1 of 2: nan@load" in captured.err


def test_it_is_found_under_rollout_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Where one looks who has a rollout in mind."""
    assert run(["rollout", "rehearse", "--help"]) == 0
    assert "rehearse digits" in capsys.readouterr().out
