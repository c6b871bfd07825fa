"""A prover in a real server: its title, its end, and what it leaves behind."""

from __future__ import annotations

from changeover.testing import wait_for
from tests import onnx_models
from tests.conftest import Serve


def test_a_prover_lives_for_one_version(serve: Serve) -> None:
    """It has gone when the version serves, and it is as small as a worker: most of it is shared with the zygote."""
    server = serve()
    server.deploy("m", onnx_models.scale(2).SerializeToString())
    server.plan("m", "runtime: {max_batch: 1}\ngates: {performance: {enabled: false}}")
    pushed = server.push("m", onnx_models.slow(100).SerializeToString())
    prover = server.named("prover m/2")
    assert prover.cwd() == str(server.state / "empty")
    assert prover.ppid() == server.pid
    assert prover.memory_full_info().uss < 60 << 20
    assert server.settled(pushed["rollout"])["phase"] == "watching"
    wait_for(lambda: not prover.is_running(), "its end")
    assert list((server.state / "empty").iterdir()) == []
