"""`changeover certificate`: which one, and what people read in it."""

from __future__ import annotations

import json

import pytest

from changeover.cli.certificate import headline
from changeover.cli.main import run
from tests.cli.fake import CERTIFICATE, ROLLOUT, usual


def test_the_newest_that_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A running rollout has no certificate yet: the one before it is shown."""
    with usual() as fake:
        running = ROLLOUT | {"id": "r-000003", "phase": "validating", "started": "2026-02-01T00:00:00.000000Z"}
        fake.answers["GET /v1/models/digits/rollouts"] = (200, {"rollouts": [running, ROLLOUT]})
        assert run(["certificate", "digits", "--control", fake.url, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rollout"] == "r-000002"
    assert [seen.path for seen in fake.seen][1:] == [
        "/v1/rollouts/r-000003/certificate",
        "/v1/rollouts/r-000002/certificate",
    ]


def test_none_yet(capsys: pytest.CaptureFixture[str]) -> None:
    """A model without any says so and what to look at; exit 1."""
    with usual() as fake:
        fake.answers["GET /v1/models/digits/rollouts"] = (200, {"rollouts": []})
        assert run(["certificate", "digits", "--control", fake.url]) == 1
    assert "[no_certificate]" in capsys.readouterr().err


def test_what_was_not_measured_is_not_shown_as_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """A first version has no source, no switch numbers may be missing, and nothing is invented."""
    bare = CERTIFICATE | {"from": None, "switch": None, "requests": None, "latency": {}, "memory": {}, "loading": {}}
    with usual() as fake:
        fake.answers["GET /v1/rollouts/r-000002/certificate"] = (200, bare)
        assert run(["certificate", "digits", "--control", fake.url]) == 0
    shown = capsys.readouterr().out
    assert "nothing → 2@ab12" in shown
    assert "requests were not counted" in shown
    assert "stale picks" not in shown


def test_headline() -> None:
    """The one line that the demo ends with."""
    assert headline(CERTIFICATE) == "0 failed of 12,345"
