"""Every gate refuses a real model that fails it, in a real server, and the traffic goes on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from changeover.testing import Server, wait_for
from tests import harmful_models, onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic

GOOD = onnx_models.scale(2).SerializeToString()
ROWS = np.random.default_rng(3).random((400, 4), np.float32) + 0.1
QUICK = "runtime: {max_batch: 1}\ngates: {performance: {enabled: false}, accuracy: {enabled: false}}"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Version 1 of `m` doubles."""
    with Server(tmp_path_factory.mktemp("gates")) as made:
        made.deploy("m", GOOD)
        yield made


def gate(rollout: Document, name: str) -> Document:
    """What one gate said, as the record has it."""
    found: Document = next(g for g in rollout["gates"] if g["gate"] == name)
    return found


def refused(server: Server, data: bytes) -> tuple[str, str, Document]:
    """Push a version under traffic, which does not notice: the reason, the gate that refused it and its evidence."""
    active = server.model("m")["active"]
    with Traffic(server.http_port, "m", {active: 2.0}) as traffic:
        rollout = server.deploy("m", data)
        traffic.wait_for_answers(10)
    assert rollout["phase"] == "failed", rollout
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)
    *before, told = rollout["gates"]
    assert (told["result"], told["detail"]) == ("failed", rollout["detail"])
    assert all(g["result"] != "failed" for g in before)
    wait_for(lambda: not provers(server), "the prover's end")
    return rollout["reason"], told["gate"], told["evidence"]


def provers(server: Server) -> list[str]:
    titles = []
    for process in server.processes():
        try:
            titles.append(" ".join(process.cmdline()))
        except Exception:  # noqa: BLE001, S112 - it is gone
            continue
    return [title for title in titles if "prover" in title]


def golden(server: Server, model: str, **arrays: np.ndarray) -> Path:
    """Put a golden set beside a model."""
    folder = server.repository / model / "golden"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "set.npz", **arrays)
    return folder


# -- what a version must not be ----------------------------------------------------------------------------


def test_infinite_outputs(server: Server) -> None:
    """Infinity is as bad as NaN; `test_refusals` has NaN and the broken files."""
    reason, name, _ = refused(server, onnx_models.infinite().SerializeToString())
    assert (reason, name) == ("output_not_finite", "warmup")


def test_a_crash_at_load(server: Server) -> None:
    """The model kills ONNX Runtime: the prover dies of it, and neither supervisor nor clients do."""
    pid = server.pid
    found = refused(server, harmful_models.crash_at_load().SerializeToString())
    assert found == ("prover_crashed", "load", {"reason": "prover_crashed"})
    assert server.pid == pid
    assert "SIGFPE" in server.model("m")["rollout"]["detail"]


def test_a_hang_at_load(serve: Serve) -> None:
    """Past the load time-out the prover is killed, and the old version goes on."""
    server = serve(load_timeout=8.0)  # a busy machine takes its time for the good version too
    server.deploy("m", GOOD)
    reason, name, _ = refused(server, harmful_models.hang_at_load().SerializeToString())
    assert (reason, name) == ("load_timeout", "load")


def test_a_hang_in_the_warmup(server: Server) -> None:
    """A run that takes more processor time than `run_timeout` allows ends the prover."""
    server.plan("m", "runtime: {run_timeout: 50ms}")
    try:
        reason, name, _ = refused(server, onnx_models.slow(1 << 40).SerializeToString())
    finally:
        server.plan("m", "{}")
    assert (reason, name) == ("run_timeout", "warmup")


def test_memory_that_will_not_suffice(server: Server) -> None:
    """Predicted from what the candidate took in the prover, beside what the workers hold."""
    server.plan("m", "gates: {resources: {max_memory: 0.0001}}")
    try:
        reason, name, told = refused(server, onnx_models.weighty(16).SerializeToString())
    finally:
        server.plan("m", "{}")
    assert (reason, name) == ("memory_predicted", "resources")
    assert told["predicted_bytes"] == told["held_bytes"] + told["candidate_bytes"] > told["limit_bytes"]
    assert 16 << 20 < told["candidate_bytes"] < 160 << 20


def test_twice_as_slow(serve: Serve) -> None:
    """Worker time beside the active version's, in pairs; what is a little slower passes."""
    server = serve()
    server.deploy("m", onnx_models.slow(10, factor=2, size=128).SerializeToString())
    reason, name, told = refused(server, onnx_models.slow(21, factor=2, size=128).SerializeToString())
    assert (reason, name) == ("too_slow", "performance")
    assert (told["max_ratio"], told["rows"]["1"]["low"] > 1.5) == (1.5, True)
    rollout = server.deploy("m", onnx_models.slow(11, factor=3, size=128).SerializeToString())
    assert gate(rollout, "performance")["result"] == "passed", rollout
    assert rollout["phase"] == "watching"


# -- golden sets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "plan", "set_", "good", "bad", "reason"),
    [
        ("labels", "{min: 0.97}", {"labels": ROWS.argmax(1)}, 3, -1, "accuracy_low"),
        ("worse", "{}", {"labels": ROWS.argmax(1)}, 3, -1, "accuracy_worse"),
        ("topk", "{metric: topk, k: 3, min: 0.9}", {"labels": ROWS.argmax(1)}, 3, -1, "accuracy_low"),
        ("outputs", "{tolerance: 1e-2}", {"y": 2 * ROWS}, 2.001, 2.1, "accuracy_low"),
        ("cosine", "{metric: cosine}", {"y": 2 * ROWS}, 3, -2, "accuracy_low"),
        ("agreement", "{metric: agreement}", {"y": 2 * ROWS}, 3, -2, "accuracy_low"),
        ("active", "{metric: agreement}", {"labels": ROWS.argmax(1)}, 3, -2, "accuracy_low"),
    ],
)
def test_what_is_right_is_known(
    shared_server: Server, name: str, plan: str, set_: dict[str, np.ndarray], good: float, bad: float, reason: str
) -> None:
    """Each metric lets a good version pass and stops a bad one, and tells how sure it is."""
    model = f"golden-{name}"
    shared_server.deploy(model, GOOD)
    golden(shared_server, model, x=ROWS, **set_)
    shared_server.plan(model, f"gates: {{accuracy: {plan}}}")
    passed = gate(shared_server.deploy(model, onnx_models.scale(good).SerializeToString()), "accuracy")
    assert passed["result"] == "passed", passed
    told = passed["evidence"]
    assert (told["samples"], told["of"]) == (400, 400)
    assert told["low"] <= told["value"] <= told["high"]
    rollout = shared_server.deploy(model, onnx_models.scale(bad).SerializeToString())
    assert (rollout["phase"], rollout["reason"]) == ("failed", reason), rollout
    assert shared_server.model(model)["active"] == "2"


def test_a_minimum_without_a_golden_set_is_refused(shared_server: Server) -> None:
    """What was asked for cannot be shown, and silence would look like a pass."""
    shared_server.plan("bare", "gates: {accuracy: {min: 0.9}}")
    rollout = shared_server.deploy("bare", GOOD)
    assert (rollout["phase"], rollout["reason"]) == ("failed", "golden_missing"), rollout


def test_a_broken_golden_set_is_refused(shared_server: Server) -> None:
    """The sentence says what is wrong with it."""
    golden(shared_server, "odd", z=ROWS, labels=ROWS.argmax(1))
    rollout = shared_server.deploy("odd", GOOD)
    assert (rollout["phase"], rollout["reason"]) == ("failed", "golden_invalid"), rollout
    assert "input 'x'" in rollout["detail"]


def test_onnx_test_data_sets(shared_server: Server) -> None:
    """The form that ONNX's model zoo has; it lies in the version's folder and is sealed with it."""
    for version, factor, phase in ((1, 2.0, "succeeded"), (2, 2.5, "failed")):
        folder = shared_server.repository / "zoo" / str(version)
        for number, row in enumerate(ROWS[:3]):
            one = folder / "golden" / f"test_data_set_{number}"
            one.mkdir(parents=True)
            for name, array in (("input", row[None]), ("output", 2 * row[None])):
                (one / f"{name}_0.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
        (folder / "model.onnx").write_bytes(onnx_models.scale(factor).SerializeToString())
        wait_for(lambda now=str(version): ended(shared_server, "zoo") == now, f"version {version}")  # type: ignore[misc]
        assert shared_server.model("zoo")["rollout"]["phase"] == phase, shared_server.model("zoo")["rollout"]
    last = shared_server.control("GET", f"/v1/rollouts/{shared_server.model('zoo')['rollout']['id']}")
    told = gate(last, "accuracy")["evidence"]
    assert (told["metric"], told["value"], told["samples"], told["reason"]) == ("tolerance", 0.0, 3, "accuracy_low")


def ended(server: Server, model: str) -> str | None:
    """Target of a model's last rollout, once that has ended."""
    try:
        shown = server.model(model)["rollout"]
    except AssertionError:
        return None
    return str(shown["to"]["version"]) if shown and shown["phase"] in ("succeeded", "failed") else None


# -- provers that come to harm -----------------------------------------------------------------------------


def test_a_prover_is_fenced_in(server: Server) -> None:
    """Idle priority, one thread, no socket, a group of its own, first to go when memory runs out, no privileges."""
    server.plan("m", QUICK)
    pushed = server.push("m", onnx_models.slow(120, factor=2).SerializeToString())
    prover = server.named(f"prover m/{pushed['version']}")
    own = Path("/proc") / str(prover.pid)
    wait_for(lambda: "NoNewPrivs:\t1" in (own / "status").read_text(), "its fences")
    status = dict(line.split(":", 1) for line in (own / "status").read_text().splitlines())
    assert (os.getpgid(prover.pid), prover.ppid()) == (prover.pid, server.pid)
    assert (prover.nice(), os.sched_getscheduler(prover.pid)) == (19, os.SCHED_IDLE)
    assert (prover.num_threads(), prover.net_connections()) == (1, [])
    assert (own / "oom_score_adj").read_text().strip() == "1000"
    wait_for(lambda: "Seccomp:\t2" in (own / "status").read_text() or status.get("Seccomp") is None, "the filter")
    server.settled(pushed["rollout"])
    server.plan("m", "{}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_prover_hurt_from_outside_is_no_verdict(server: Server, number: signal.Signals) -> None:
    """The next one begins anew, and the version passes."""
    server.plan("m", QUICK)
    pushed = server.push("m", onnx_models.slow(120, factor=2).SerializeToString())
    prover = server.named(f"prover m/{pushed['version']}")
    prover.send_signal(number)
    rollout = server.settled(pushed["rollout"])
    assert rollout["phase"] == "watching", rollout
    assert not prover.is_running()
    server.plan("m", "{}")


def test_a_prover_dies_with_its_controller(serve: Serve) -> None:
    """Nobody waits for it any more; the next controller has the version proven again."""
    server = serve()
    server.deploy("m", GOOD)
    server.plan("m", QUICK)
    pushed = server.push("m", onnx_models.slow(120, factor=2).SerializeToString())
    prover = server.named("prover m/2")
    server.named("controller").kill()
    wait_for(lambda: not prover.is_running(), "the prover's end")
    assert server.settled(pushed["rollout"])["phase"] == "watching"


def test_the_record_tells_all_gates(shared_server: Server) -> None:
    """In their order."""
    shared_server.deploy("record", GOOD)
    rollout = shared_server.deploy("record", onnx_models.scale(2.0001).SerializeToString())
    names = ["integrity", "structure", "warmup", "resources", "accuracy", "performance"]
    assert [g["gate"] for g in rollout["gates"]] == names, json.dumps(rollout)
    assert gate(rollout, "accuracy")["result"] == "skipped"
