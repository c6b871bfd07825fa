"""The demo's own server: it starts with version 1, a golden set and a canary's plan, and it goes away."""

from __future__ import annotations

from pathlib import Path

from changeover.cli.client import JsonClient
from changeover.client.ask import get
from changeover.controller.faults import read_faults
from changeover.demo.server import BAD_FROM, PLAN, DemoServer
from changeover.rollout.plan import parse_plan


def test_serves_version_1_and_ends(tmp_path: Path) -> None:
    """Inside the block version 1 is ready on its ports; after it the process is gone."""
    with DemoServer(tmp_path) as server:
        assert JsonClient(server.url).call(get("/v2/models/digits"))["versions"] == ["1"]
        process = server._process
        assert process is not None
        assert process.poll() is None
        assert server.pid == process.pid
    assert process.returncode == 0


def test_the_plan_is_a_canary() -> None:
    """The demo's model.yaml is a valid plan with a shadow step and holds of seconds."""
    rollout = parse_plan(PLAN).rollout
    assert rollout.strategy == "canary"
    assert rollout.steps[0].shadow
    assert rollout.hold <= 5


def test_version_4_goes_wrong_after_its_gates(tmp_path: Path) -> None:
    """Slow and erring, and only from a run on that gates and shadow step do not reach."""
    with DemoServer(tmp_path):
        faults = read_faults(str(tmp_path / "faults.json")).of("digits", "4")
    assert [(fault.kind, fault.after) for fault in faults] == [("slow", BAD_FROM), ("error", BAD_FROM)]
