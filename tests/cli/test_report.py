"""`changeover report`: one file a rollout, with or without a certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.cli.main import run
from tests.cli.fake import CERTIFICATE, FakeControl
from tests.cli.statuses import PROGRESSING, SUCCEEDED

ROLLOUT = "r-000004"
READY = {
    f"GET /v1/rollouts/{ROLLOUT}": (200, SUCCEEDED),
    f"GET /v1/rollouts/{ROLLOUT}/certificate": (200, CERTIFICATE),
}
NOT_READY = {
    f"GET /v1/rollouts/{ROLLOUT}": (200, PROGRESSING),
    f"GET /v1/rollouts/{ROLLOUT}/certificate": (404, {"error": "not yet", "reason": "certificate_not_ready"}),
}


def test_a_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named as the rollout, or as it was asked."""
    monkeypatch.chdir(tmp_path)
    with FakeControl(dict(READY)) as fake:
        assert run(["report", ROLLOUT, "--control", fake.url]) == 0
        assert run(["report", ROLLOUT, "--to", "change.html", "--control", fake.url]) == 0
    named, asked = ((tmp_path / name).read_text() for name in (f"{ROLLOUT}.html", "change.html"))
    assert "0 of 12,345 failed" in named
    assert named.partition("<footer>")[0] == asked.partition("<footer>")[0]


def test_a_rollout_under_way_has_a_page_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a certificate, on stdout."""
    with FakeControl(dict(NOT_READY)) as fake:
        assert run(["report", ROLLOUT, "--to", "-", "--control", fake.url]) == 0
    out = capsys.readouterr().out
    assert out.startswith("<!doctype html>")
    assert "There is none (yet)" in out


def test_what_cannot_be_had_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown rollout, and a file that cannot be written."""
    with FakeControl(dict(READY)) as fake:
        assert run(["report", "r-9", "--control", fake.url]) == 1
        assert run(["report", ROLLOUT, "--to", str(tmp_path / "no" / "x.html"), "--control", fake.url]) == 64
    assert "cannot be written" in capsys.readouterr().err
