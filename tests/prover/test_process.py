"""A prover in a real server: its title, its end, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

from changeover.testing import wait_for
from tests import onnx_models
from tests.conftest import Serve


def test_a_prover_lives_for_one_version(serve: Serve, tmp_path: Path) -> None:
    """It has gone when the version serves, and it is as small as a worker: most of it is shared with the zygote.

    The first one hangs as long as it lives, to be looked at. That it is killed says nothing of the version: the next
    one proves it.
    """
    hangs = tmp_path / "hangs"
    hangs.touch()
    fault = {"kind": "hang", "after": 1, "when": str(hangs)}
    (tmp_path / "faults.json").write_text(json.dumps({"models": {"m": {"2": fault}}}))
    server = serve(faults=str(tmp_path / "faults.json"))
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    server.plan("m", "runtime: {max_batch: 1}\ngates: {performance: {enabled: false}}")
    pushed = server.push("m", onnx_models.slow(100).SerializeToString())
    prover = server.named("prover m/2")
    states = lambda: {v["version"]: v["state"] for v in server.model("m")["versions"]}  # noqa: E731
    wait_for(lambda: states()["2"] == "validating", "its first runs")
    assert prover.cwd() == str(server.state / "empty")
    assert prover.ppid() == server.pid
    assert prover.memory_full_info().uss < 60 << 20
    (tmp_path / "lives").symlink_to(f"/proc/{prover.pid}")
    (tmp_path / "lives").replace(hangs)
    prover.kill()
    assert server.settled(pushed["rollout"])["phase"] == "watching"
    wait_for(lambda: not prover.is_running() and server.find("prover m/2") is None, "its end, and the next one's")
    assert list((server.state / "empty").iterdir()) == []
