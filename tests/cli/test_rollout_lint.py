"""`changeover rollout lint`: lines to look at, and the way that a sound plan makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from changeover.cli.main import run

SOUND = """\
rollout:
  strategy: canary
  steps: [shadow, 1%, {weight: 5%, hold: 1m}, 100%]
  min_requests: 100
"""


def linted(tmp_path: Path, text: str, *more: str) -> int:
    """The exit code for this plan."""
    (tmp_path / "model.yaml").write_text(text)
    return run(["rollout", "lint", str(tmp_path / "model.yaml"), *more])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("rollout:\n  strategy: canary\n  undo_windw: 1m\n", 3, "undo_windw: there is no such field"),
        ("rollout:\n  hold: soon\n", 2, "rollout.hold: 'soon' is no duration"),
        ("rollout:\n  steps:\n  - 1%\n  - 120%\n", 4, "at most 100%"),
        ("gates:\n\n\n  accuracy: {metric: magic}\n", 4, "gates.accuracy.metric"),
        ("rollout: {hold: 1s\nx: [\n", 2, "not YAML"),
    ],
)
def test_a_mistake_has_its_line(
    tmp_path: Path, text: str, line: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1; `FILE:LINE` as editors want it, with the lines around it."""
    assert linted(tmp_path, text) == 1
    shown = capsys.readouterr().out
    assert f"model.yaml:{line}: error: " in shown
    assert words in shown
    assert linted(tmp_path, text, "-o", "json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["valid"], document["plan"]) == (False, None)
    assert [(problem["line"], problem["kind"]) for problem in document["problems"]] == [(line, "error")]


def test_the_line_meant_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its neighbours."""
    linted(tmp_path, "rollout:\n  strategy: canary\n  undo_windw: 1m\n")
    assert [row.rstrip() for row in capsys.readouterr().out.splitlines()[1:]] == [
        "      2 |   strategy: canary",
        "  >   3 |   undo_windw: 1m",
    ]


def test_a_sound_plan_shows_its_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0: each step with its least time and requests, and how long it takes at least."""
    assert linted(tmp_path, SOUND) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "gates → shadow (30 s, 100 requests) → 1% (30 s, 100 requests) → 5% (60 s, 100 requests) → 100%" in shown
    assert "120 s at least" in shown


def test_remarks_do_not_make_it_unsound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have lines too, in order, and exit 0; the rate of the model's requests counts."""
    assert linted(tmp_path, SOUND, "--rate", "1", "-o", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is True
    assert {problem["kind"] for problem in document["problems"]} == {"remark"}
    assert [problem["line"] for problem in document["problems"]] == sorted(p["line"] for p in document["problems"])
    assert any("requests a second" in problem["sentence"] for problem in document["problems"])
    assert document["plan"]["rollout"]["hold"] == 30


def test_an_empty_plan_is_sound(tmp_path: Path) -> None:
    """Everything has a default."""
    assert linted(tmp_path, "") == 0


def test_what_is_no_text_is_usage(tmp_path: Path) -> None:
    """Exit 64."""
    (tmp_path / "model.yaml").write_bytes(b"\xff\xfe")
    assert run(["rollout", "lint", str(tmp_path / "model.yaml")]) == 64


def test_all_mistakes_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By line, each once; of a list the first one. What is no field does not hide what stands beside it."""
    wrong = ["strategy: canari", "steps: [10%, 120%, 5 apples]", "hold: 6 apples", "undo_windw: 1m"]
    text = "\n  ".join(["rollout:", *wrong]) + "\nprivat: true\n"
    assert linted(tmp_path, text, "-o", "json") == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [problem["line"] for problem in problems] == [2, 3, 4, 5, 6]
    assert [problem["field"] for problem in problems] == [
        "rollout.strategy", "rollout.steps[1]", "rollout.hold", "rollout.undo_windw", "privat",
    ]  # fmt: skip
