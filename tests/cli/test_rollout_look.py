"""`changeover rollout status`, `list`, `history`: looking and waiting."""

from __future__ import annotations

import json

import pytest

from changeover.cli.main import run
from tests.cli.fake import MODEL, ROLLOUT, usual
from tests.cli.statuses import PROGRESSING


@pytest.mark.parametrize(
    ("phase", "wait", "code"),
    [
        ("validating", False, 0),
        ("failed", False, 0),
        ("failed", True, 2),
        ("rolled_back", True, 1),
        ("watching", True, 0),
        ("succeeded", True, 0),
        ("validating", True, 3),
        ("paused", True, 3),
    ],
)
def test_exit_codes(phase: str, wait: bool, code: int) -> None:
    """Looking always exits 0; waiting exits with the verdict."""
    with usual() as fake:
        fake.answers["GET /v1/models/digits/rollout"] = (200, ROLLOUT | {"phase": phase})
        fake.answers["GET /v1/rollouts/r-000002"] = (200, ROLLOUT | {"phase": phase})
        waiting = ["--wait", "--timeout", "0.3"] if wait else []
        assert run(["rollout", "status", "digits", *waiting, "--control", fake.url]) == code


def test_waiting_tells_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Each phase and step is one line on stderr, and stdout is the end alone."""
    way = [PROGRESSING, PROGRESSING | {"step": PROGRESSING["step"] | {"index": 4, "name": "25%"}}, ROLLOUT]
    with usual() as fake:
        fake.answers["GET /v1/models/digits/rollout"] = (200, PROGRESSING)
        fake.answers["GET /v1/rollouts/r-000004"] = lambda: (200, way.pop(0) if len(way) > 1 else way[0])
        assert run(["rollout", "status", "digits", "--wait", "-o", "json", "--control", fake.url]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == ROLLOUT
    assert captured.err.splitlines() == [
        "r-000004 digits 1 → 2 progressing 5% (step 3 of 6)",
        "r-000004 digits 1 → 2 progressing 25% (step 4 of 6)",
        "r-000002 digits 1 → 2 succeeded",
    ]


def test_a_rollout_at_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    """`status` and `list` name step and share."""
    with usual() as fake:
        fake.answers["GET /v1/models/digits/rollout"] = (200, PROGRESSING)
        fake.answers["GET /v1/models"] = (
            200,
            {"models": [MODEL | {"rollout": PROGRESSING}, MODEL | {"rollout": None}]},
        )
        assert run(["rollout", "status", "digits", "--control", fake.url]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "step 5%, 3 of 6 weight 5% verdict waiting: 18 s and 255 requests" in shown
        assert run(["rollout", "list", "--control", fake.url]) == 0
        assert "progressing 5% (3/6) 5% 2026-01-31 12:01:12" in " ".join(capsys.readouterr().out.split())


def test_no_rollouts_yet(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list says how one starts."""
    with usual() as fake:
        fake.answers["GET /v1/models"] = (200, {"models": []})
        assert run(["rollout", "list", "--control", fake.url]) == 0
    assert "changeover push" in capsys.readouterr().out
