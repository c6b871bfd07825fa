"""`changeover demo`, played for real."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from changeover.cli.demo import traffic
from changeover.cli.main import run


@pytest.mark.slow
def test_the_whole_demo() -> None:
    """A server, live traffic, version 2 takes over, version 3 is refused, the certificate counts no failure."""
    command = [sys.executable, "-m", "changeover.cli", "demo", "--rate", "200", "-o", "json"]
    done = subprocess.run(command, capture_output=True, timeout=90, check=False, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"]
    assert set(document["checks"].values()) == {True}
    assert document["traffic"]["versions"].keys() == {"1", "2"}
    assert document["rollouts"]["3"]["reason"] == "output_not_finite"
    assert document["certificate"]["to"]["version"] == 2
    assert document["certificate"]["requests"]["failed"] == 0
    assert "version 2 serves" in done.stderr


def test_a_server_that_cannot_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo ends with the server's own last words and exit 2."""
    monkeypatch.setattr("changeover.demo.digits.model_bytes", lambda _: b"")
    monkeypatch.setattr("changeover.demo.server._free_ports", lambda _: [70000, 70001])
    assert run(["demo"]) == 2
    message = capsys.readouterr().err
    assert "[server_ended]" in message
    assert "70000 is not a port" in message


def test_traffic_checks_every_answer() -> None:
    """The clients know the right values of both versions for all 300 digits, and the order of the versions."""
    spec = traffic(8000, 100.0)
    assert (spec.samples, set(spec.expected), spec.order) == (300, {"1", "2"}, ("1", "2"))
    assert 0 < spec.fresh < 1
