"""`changeover rollout start` and the verbs: what is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from changeover.cli.main import run
from tests.cli.fake import ROLLOUT, usual


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (["pause", "digits"], "pause", None),
        (["resume", "digits"], "resume", None),
        (["promote", "digits"], "promote", None),
        (["abort", "digits"], "abort", None),
        (["weight", "digits", "12.5%"], "weight", {"weight": "12.5%"}),
    ],
)
def test_a_verb_is_one_request(words: list[str], path: str, body: object) -> None:
    """To the model's rollout, with the share where there is one."""
    with usual() as fake:
        assert run(["rollout", *words, "--control", fake.url]) == 0
    (seen,) = fake.seen
    assert (seen.method, seen.path) == ("POST", f"/v1/models/digits/rollout/{path}")
    assert (json.loads(seen.body) if seen.body else None) == body


def test_a_refused_verb_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    """With the server's sentence and reason."""
    with usual() as fake:
        fake.answers["POST /v1/models/digits/rollout/resume"] = (409, {"error": "it goes on", "reason": "not_paused"})
        assert run(["rollout", "resume", "digits", "--control", fake.url]) == 1
    assert capsys.readouterr().err == "changeover: it goes on [not_paused]\n"


def test_start_sends_version_and_fields(tmp_path: Path) -> None:
    """The fields of the plan go as they are written: the server knows what they mean."""
    plan = tmp_path / "slow.yaml"
    plan.write_text("rollout: {hold: 10m, steps: [1%, {weight: 5%}]}\n")
    with usual() as fake:
        assert run(["rollout", "start", "digits", "2@ab12", "--plan", str(plan), "--control", fake.url]) == 0
    (seen,) = fake.seen
    assert (seen.method, seen.path, seen.content_type) == ("POST", "/v1/models/digits/rollout", "application/json")
    fields = {"rollout": {"hold": "10m", "steps": ["1%", {"weight": "5%"}]}}
    assert json.loads(seen.body) == {"version": "2@ab12", "plan": fields}


@pytest.mark.parametrize(("phase", "code"), [("succeeded", 0), ("rolled_back", 1), ("failed", 2), ("paused", 3)])
def test_start_can_wait(phase: str, code: int) -> None:
    """With --wait the exit code is the verdict."""
    with usual() as fake:
        fake.answers["GET /v1/rollouts/r-000002"] = (200, ROLLOUT | {"phase": phase})
        waiting = ["--wait", "--timeout", "0.3"]
        assert run(["rollout", "start", "digits", "2", *waiting, "--control", fake.url]) == code


def test_a_plan_that_is_no_yaml_is_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is sent, with the line."""
    plan = tmp_path / "bad.yaml"
    plan.write_text("rollout:\n  hold: [1\n")
    with usual() as fake:
        assert run(["rollout", "start", "digits", "2", "--plan", str(plan), "--control", fake.url]) == 64
    assert fake.seen == []
    assert f"{plan} line 3" in capsys.readouterr().err
