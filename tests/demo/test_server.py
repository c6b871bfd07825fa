"""The demo's own server: it starts with version 1, and it goes away."""

from __future__ import annotations

from pathlib import Path

from changeover.cli.client import JsonClient
from changeover.demo.server import PLAN, DemoServer
from changeover.rollout.plan import parse_plan


def test_serves_version_1_and_ends(tmp_path: Path) -> None:
    """Inside the block version 1 is ready on its ports; after it the process is gone."""
    with DemoServer(tmp_path) as server:
        assert JsonClient(server.url).call("GET", "/v2/models/digits")["versions"] == ["1"]
        process = server._process
        assert process is not None
        assert process.poll() is None
        assert server.pid == process.pid
    assert process.returncode == 0


def test_the_plan_is_one() -> None:
    """The demo's model.yaml is a valid plan with a short undo window."""
    assert parse_plan(PLAN).rollout.undo_window == 2.0
