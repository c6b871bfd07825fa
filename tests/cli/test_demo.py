"""`changeover demo`, played for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from changeover.cli.demo import traffic
from changeover.cli.main import run


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_the_whole_demo() -> None:
    """Live traffic, a canary to version 2, version 3 stopped by its gate, version 4 taken back from its clients."""
    command = [sys.executable, "-m", "changeover.cli", "demo", "-o", "json"]
    done = subprocess.run(command, capture_output=True, timeout=400, check=False, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"]
    assert set(document["checks"].values()) == {True}
    assert document["traffic"]["versions"].keys() == {"1", "2", "4"}
    assert document["certificate"]["to"]["version"] == 2
    assert document["certificate"]["requests"]["failed"] == 0
    assert "version 2 serves" in done.stderr


def test_a_server_that_cannot_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The demo ends with its last words and exit 2; no folder is left, neither its own nor a killed demo's."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"changeover-demo-{ended.pid}-abc" / "state").mkdir(parents=True)
    monkeypatch.setattr("changeover.demo.server.FAULTS", [{"kind": "sulk"}])
    assert run(["demo"]) == 2
    message = capsys.readouterr().err
    assert "[server_ended]" in message
    assert "sulk" in message
    assert list(tmp_path.iterdir()) == []


def test_traffic_checks_every_answer() -> None:
    """The clients know the right values of every version that may answer them, for all 300 digits."""
    spec = traffic(8000, 100.0)
    assert (spec.samples, set(spec.expected)) == (300, {"1", "2", "4"})
    assert 0 < spec.fresh < 1
