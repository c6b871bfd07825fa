"""Rollouts as an operator sees them: a real server, the real command line, real exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from changeover.testing import PATIENCE, Server, wait_for
from tests import onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic

FACTORS = {"1": 2.0, "2": 3.0}
QUICK = "rollout: {strategy: canary, steps: [20%, 50%], hold: 0s, min_requests: 0, undo_window: 1h, holdback: 0%}\n"
SLOW = "rollout: {strategy: canary, steps: [1%, 20%, 50%], hold: 1h, max_hold: 2h, min_requests: 0, undo_window: 1h}\n"
MANUAL = "rollout: {strategy: manual, undo_window: 1h}\n"


class Operator:
    """Somebody at a terminal."""

    def __init__(self, server: Server) -> None:
        self._control = f"http://127.0.0.1:{server.control_port}"

    def starts(self, *words: str) -> subprocess.Popen[str]:
        """Type a command."""
        command = [sys.executable, "-m", "changeover.cli", *words, "--control", self._control]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CHANGEOVER_")}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, encoding="utf-8"
        )

    def does(self, *words: str, code: int = 0) -> str:
        """Type a command and read what it prints; it has to end with this code."""
        process = self.starts(*words)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, (words, process.returncode, out, err)
        return out

    def sees(self, *words: str) -> Any:
        """The document that a command prints."""
        return json.loads(self.does(*words, "-o", "json"))

    def status(self) -> Any:
        return self.sees("rollout", "status", "m")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output of a command that was waiting."""
    out, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, out


@pytest.fixture
def server(serve: Serve) -> Server:
    """Version 1 of `m` serves."""
    started = serve()
    started.plan("m", "rollout: {strategy: instant}\n")
    started.deploy("m", onnx_models.scale(2).SerializeToString())
    return started


def push(server: Server, plan: str, model: bytes | None = None) -> str:
    """Version 2 is pushed under a plan; returns the rollout's id."""
    server.plan("m", plan)
    pushed = server.push("m", onnx_models.scale(3).SerializeToString() if model is None else model)
    return str(pushed["rollout"])


def at(server: Server, phase: str, step: str | None = None) -> None:
    """Wait until the model's rollout is there."""

    def there() -> bool:
        told = server.control("GET", "/v1/models/m/rollout")
        return told["phase"] == phase and (step is None or (told["step"] or {}).get("name") == step)

    wait_for(there, f"{phase} {step or ''}")


def test_a_canary_succeeds(server: Server) -> None:
    """`status --wait` and `watch` end with 0 when it is promoted, under load, and nothing is lost."""
    operator = Operator(server)
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        push(server, QUICK)
        watching = operator.starts("rollout", "watch", "m")
        operator.does("rollout", "status", "m", "--wait", "--timeout", "60")
        code, lines = ended(watching)
        assert code == 0
        assert "watching" in lines.splitlines()[-1]
        told = operator.status()
        assert [(m["phase"], m["step"]) for m in told["history"]][1:5] == [
            ("progressing", "20%"),
            ("progressing", "50%"),
            ("promoting", None),
            ("watching", None),
        ]
        assert told["undo_until"] is not None
        traffic.wait_for_version("2")
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)


def test_paused_weighed_resumed_and_aborted(server: Server) -> None:
    """By hand; who waits for the verdict hears 1 when it is aborted, and 3 when the time is over."""
    operator = Operator(server)
    with Traffic(server.http_port, "m", FACTORS) as traffic:
        push(server, SLOW)
        at(server, "progressing", "1%")
        waiting = operator.starts("rollout", "status", "m", "--wait", "--timeout", "60")
        operator.does("rollout", "status", "m", "--wait", "--timeout", "0.5", code=3)
        operator.does("rollout", "watch", "m", "--timeout", "0.5", code=3)
        assert operator.sees("rollout", "pause", "m")["phase"] == "paused"
        weighed = operator.sees("rollout", "weight", "m", "30%")
        assert (weighed["phase"], weighed["weight"]["set"]) == ("paused", 3000)
        traffic.wait_for_version("2")
        wait_for(lambda: operator.status()["arms"]["candidate"]["requests"] > 0, "requests to be counted")
        resumed = operator.sees("rollout", "resume", "m")
        assert (resumed["phase"], resumed["step"]["name"], resumed["weight"]["set"]) == ("progressing", "50%", 5000)
        sentences = operator.sees("rollout", "explain", "m")["sentences"]
        assert any("is progressing at step 50%, 3 of 4" in sentence for sentence in sentences), sentences
        aborted = operator.sees("rollout", "abort", "m")
        assert aborted["phase"] in ("rolling_back", "rolled_back")
        assert ended(waiting)[0] == 1
        at(server, "rolled_back")
        operator.does("rollout", "status", "m", "--wait", code=1)
        operator.does("rollout", "resume", "m", code=1)
    assert server.model("m")["active"] == "1"
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)


def test_by_hand_from_nothing_to_all(server: Server) -> None:
    """Strategy manual: nothing moves until somebody says so; what cannot be said is refused with its reason."""
    operator = Operator(server)
    push(server, MANUAL)
    at(server, "paused")
    assert operator.status()["weight"]["set"] == 0
    assert operator.sees("rollout", "weight", "m", "12.5%")["weight"]["set"] == 1250
    operator.does("rollout", "weight", "m", "a lot", code=1)
    operator.does("rollout", "weight", "m", "120%", code=1)
    operator.does("undo", "m", code=1)
    assert operator.sees("rollout", "promote", "m")["phase"] == "watching"
    assert server.model("m")["active"] == "2"
    operator.does("rollout", "abort", "m", code=1)
    assert operator.sees("undo", "m")["phase"] == "rolled_back"
    assert server.model("m")["active"] == "1"


def test_a_refused_version_has_failed(server: Server) -> None:
    """The verdict is 2; the version that serves goes on."""
    operator = Operator(server)
    broken = onnx_models.scale(float("nan")).SerializeToString()
    push(server, QUICK, broken)
    operator.does("rollout", "status", "m", "--wait", "--timeout", "60", code=2)
    operator.does("rollout", "watch", "m", code=2)
    assert server.model("m")["active"] == "1"


def test_started_from_the_repository_with_a_plan(server: Server, tmp_path: Path) -> None:
    """`rollout start` takes a version that does not start by itself; its own plan and the fields given both count."""
    operator = Operator(server)
    server.plan("m", QUICK.replace("{", "{auto: false, ", 1))
    folder = server.repository / "m" / "7"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(onnx_models.scale(3).SerializeToString())
    wait_for(lambda: "7" in [v["version"] for v in server.model("m")["versions"]], "version 7 to be seen")
    fields = tmp_path / "fields.yaml"
    fields.write_text("rollout: {steps: [50%]}\n")
    operator.does("rollout", "start", "m", "7", "--plan", str(fields), "--wait", "--timeout", "60")
    told = operator.status()
    assert (told["to"]["version"], told["steps"], told["plan"]["rollout"]["undo_window"]) == (
        "7",
        ["50%", "100%"],
        3600,
    )
    assert [rollout["id"] for rollout in operator.sees("rollout", "list")["rollouts"]] == [told["id"]]
    assert len(operator.sees("rollout", "history", "m")["rollouts"]) == 2
