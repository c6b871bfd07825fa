"""System calls of a running controller fail: the active version serves, the API says why, then all is well again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from changeover.testing import Server, exchange, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic

FACTORS = {str(version): float(version + 1) for version in range(1, 100)}
UNWRITABLE = ("journal_unwritable", "artifacts_unwritable")
FAILURES = [
    "fdatasync:error=EIO",
    "fsync:error=EIO",
    "pwrite64:error=ENOSPC",
    "rename:error=ENOSPC",
    "mkdir:error=ENOSPC",
]


@contextmanager
def failing(server: Server, how: str) -> Iterator[None]:
    """From now on these calls of the controller fail."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    call = how.split(":")[0]
    command = [strace, "-f", "-p", str(server.named("controller").pid), "-o", "/dev/null"]
    command += ["-e", f"trace={call}", "-e", f"inject={how}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    if "attached" not in (said := tracer.stderr.readline()):
        tracer.kill()
        pytest.skip(f"no process can be traced here: {said.strip()}")
    try:
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


def model(version: int) -> bytes:
    return onnx_models.scale(FACTORS[str(version)]).SerializeToString()


def test_a_push_is_refused_and_the_version_serves(serve: Serve) -> None:
    """Each kind of failure: 503 with its reason, and nothing changes; afterwards the next push is served."""
    server = serve()
    server.deploy("m", model(1), 1)
    with Traffic(server.http_port, "m", FACTORS, rate=60) as traffic:
        for number, how in enumerate(FAILURES, start=1):
            active = server.model("m")["active"]
            with failing(server, how):
                reply = exchange(
                    server.control_port, "POST", f"/v1/models/m/versions?version={40 + number}", model(40 + number)
                )
                assert (reply.status, reply.json()["reason"] in UNWRITABLE) == (503, True), (how, reply)
                assert server.model("m")["active"] == active
                traffic.wait_for_answers(10)
            assert server.deploy("m", model(number + 1), number + 1)["phase"] == "watching", how
            traffic.wait_for_version(str(number + 1))
        traffic.wait_for_answers(10)
    assert (traffic.report.failed, traffic.report.refused, traffic.report.wrong) == ([], 0, 0)
    assert traffic.report.versions() <= {str(n) for n in range(1, len(FAILURES) + 2)}


def test_an_undo_needs_no_disk(serve: Serve) -> None:
    """The move towards the active version is stored first; its record is paid later, and outlives the controller."""
    server = serve()
    server.deploy("m", model(1), 1)
    server.deploy("m", model(2), 2)
    with Traffic(server.http_port, "m", FACTORS, rate=60) as traffic:
        with failing(server, "fdatasync:error=EIO"):
            server.control("POST", "/v1/models/m/rollout/undo")
            traffic.wait_for_version("1")
            refused = exchange(server.control_port, "POST", "/v1/models/m/versions?version=9", model(9))
            assert refused.status == 503
        wait_for(lambda: server.model("m")["rollout"]["phase"] == "rolled_back", "the record of the undo")
        wait_for(lambda: "the record of epoch" in server.log.read_text(), "the record of the epoch")
        server.named("controller").kill()
        wait_for(lambda: "started <controller" in server.tail(6), "the next controller")
        assert server.deploy("m", model(3), 3)["phase"] == "watching"
        traffic.wait_for_version("3")
    assert (traffic.report.failed, traffic.report.refused, traffic.report.wrong) == ([], 0, 0)


def test_a_version_found_meanwhile_is_taken_later(serve: Serve) -> None:
    """It lies in the repository while nothing can be recorded: no verdict is passed on it, and it serves in the end."""
    server = serve()
    server.deploy("m", model(1), 1)
    with failing(server, "fdatasync:error=EIO"):
        folder = server.repository / "m" / "2"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(model(2))
        wait_for(lambda: "m/2 cannot be taken yet" in server.log.read_text(), "the attempt")
    wait_for(lambda: server.model("m")["active"] == "2", "the next attempt")
    assert [r["phase"] for r in server.control("GET", "/v1/models/m/rollouts")["rollouts"]] == ["watching", "succeeded"]
