"""A bad version costs the clients nothing, and the record says why it was refused."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from changeover.testing import Server, exchange, wait_for
from tests import harmful_models, onnx_models
from tests.conftest import Serve
from tests.traffic import Traffic

_CREATE_RULESET = 444
"""A call of Landlock's, that tells its version when it is asked for nothing."""
GOOD = onnx_models.scale(2).SerializeToString()
QUICK = "runtime: {max_batch: 1}\ngates: {performance: {enabled: false}, accuracy: {enabled: false}}"


def unknown_operator() -> bytes:
    """A valid file with an operator that nobody has."""
    made = onnx_models.scale(3)
    made.graph.node[0].op_type = "Frobnicate"
    return made.SerializeToString()


def fixed_rows() -> bytes:
    """The right names and types, but one row only."""
    made = onnx_models.scale(3)
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return made.SerializeToString()


def future_opset() -> bytes:
    """Made for operators of the future."""
    made = onnx_models.scale(3)
    made.opset_import[0].version = 999
    return made.SerializeToString()


REFUSED = {
    "garbage": (b"this is no model " * 100, "not_onnx"),
    "zeros": (bytes(4096), "not_onnx"),
    "cut off": (GOOD[: len(GOOD) // 2], "not_onnx"),
    "unknown operator": (unknown_operator(), "operator_unknown"),
    "future opset": (future_opset(), "opset_unsupported"),
    "another input": (onnx_models.gather().SerializeToString(), "signature_changed"),
    "more columns": (onnx_models.scale(3, columns=5).SerializeToString(), "signature_changed"),
    "fixed rows": (fixed_rows(), "signature_changed"),
    "not a number": (onnx_models.not_a_number().SerializeToString(), "output_not_finite"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Version 1 of `m` doubles."""
    with Server(tmp_path_factory.mktemp("refusals")) as made:
        made.deploy("m", GOOD)
        yield made


def assert_refused(server: Server, rollout: dict[str, Any], reason: str) -> None:
    """The rollout failed with this reason and a sentence; version 1 goes on, the refused one has no worker."""
    assert (rollout["phase"], rollout["reason"]) == ("failed", reason), rollout
    assert len(rollout["detail"]) > 10
    shown = server.model("m")
    assert (shown["active"], shown["candidate"]) == ("1", None)
    refused = next(v for v in shown["versions"] if v["version"] == rollout["to"]["version"])
    assert (refused["role"], refused["state"], refused["reason"]) == ("none", "failed", reason)
    version = rollout["to"]["version"]
    wait_for(lambda: not [p for p in server.processes() if _worker_of(p, version)], "its worker to be gone")


def _worker_of(process: Any, version: str) -> bool:
    try:
        return bool(f"changeover: worker m/{version}" == " ".join(process.cmdline()).strip())
    except Exception:  # noqa: BLE001 - gone, or a zombie: no worker
        return False


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_artifact_is_refused(server: Server, what: str) -> None:
    """Whatever is wrong with it, the old version answers on, and the reason is a stable word."""
    data, reason = REFUSED[what]
    with Traffic(server.http_port, "m", {"1": 2.0}) as traffic:
        rollout = server.deploy("m", data)
        traffic.wait_for_answers(10)
    assert_refused(server, rollout, reason)
    assert (traffic.report.failed, traffic.report.wrong, traffic.report.versions()) == ([], 0, {"1"})


def test_an_empty_push_is_the_callers_fault(server: Server) -> None:
    """No body, no version, no rollout."""
    reply = exchange(server.control_port, "POST", "/v1/models/m/versions", b"")
    assert (reply.status, reply.json()["reason"]) == (400, "empty_body")


def test_a_refused_name_makes_no_model(server: Server) -> None:
    """A model cannot be called `..`, and asking for it again finds nothing."""
    reply = exchange(server.control_port, "POST", "/v1/models/a%20b/versions", GOOD)
    assert (reply.status, reply.json()["reason"]) == (400, "invalid_name")


def test_a_model_over_its_memory_limit_is_refused(serve: Serve) -> None:
    """An allocation beyond `runtime.memory_limit` is an error with its own word, not a crash."""
    server = serve()
    server.deploy("m", GOOD)
    server.plan("m", "runtime: {memory_limit: 512MiB}")
    assert_refused(server, server.deploy("m", harmful_models.greedy(1).SerializeToString()), "out_of_memory")


def test_a_first_version_over_its_memory_limit_is_refused(serve: Serve) -> None:
    """Weights that do not fit the limit cannot be loaded either."""
    server = serve()
    server.plan("m", "runtime: {memory_limit: 64MiB}")
    rollout = server.deploy("m", onnx_models.weighty(128).SerializeToString())
    assert (rollout["phase"], rollout["reason"]) == ("failed", "out_of_memory"), rollout


def hanging_when_loaded(serve: Serve, folder: Path, **settings: Any) -> Server:
    """Version 2 of `m` is proven as any other, and hangs in the first run of its worker.

    The kernel tells a prover nothing of what lies behind another process's root, because of its fence.
    """
    if ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1) < 1:
        pytest.skip("no Landlock here: a prover sees what a worker sees")
    faults = folder / "faults.json"
    fault = {"kind": "hang", "when": f"/proc/{os.getpid()}/root/{folder}"}
    faults.write_text(json.dumps({"models": {"m": {"2": fault}}}))
    server = serve(faults=str(faults), **settings)
    server.deploy("m", GOOD)
    server.plan("m", QUICK)
    return server


def test_a_worker_that_crashes_while_it_loads_is_a_refusal(serve: Serve, tmp_path: Path) -> None:
    """SIGKILL for the candidate's worker, proven as it is: the record names the signal, and nobody tries again."""
    server = hanging_when_loaded(serve, tmp_path)
    with Traffic(server.http_port, "m", {"1": 2.0}) as traffic:
        pushed = server.push("m", onnx_models.scale(3).SerializeToString())
        server.named("worker m/2").send_signal(signal.SIGKILL)
        rollout = server.settled(pushed["rollout"])
    assert_refused(server, rollout, "worker_crashed")
    assert "SIGKILL" in rollout["detail"]
    assert traffic.report.failed == []


def test_a_version_that_takes_too_long_to_load_is_refused(serve: Serve, tmp_path: Path) -> None:
    """Proven and then hanging: past the load time-out its worker is killed and the old version goes on."""
    server = hanging_when_loaded(serve, tmp_path, load_timeout=4.0)
    with Traffic(server.http_port, "m", {"1": 2.0}) as traffic:
        rollout = server.deploy("m", onnx_models.scale(3).SerializeToString())
        traffic.wait_for_answers(10)
    assert_refused(server, rollout, "load_timeout")
    assert "was not ready after 4 s" in rollout["detail"]
    assert (traffic.report.failed, traffic.report.wrong, traffic.report.versions()) == ([], 0, {"1"})


def test_a_broken_file_in_the_repository_is_recorded(serve: Serve) -> None:
    """Garbage under a higher number is refused with a record; the number below it serves on."""
    server = serve()
    server.deploy("m", GOOD)
    folder = server.repository / "m" / "2"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"\x08\x08" + b"no model" * 50)
    wait_for(lambda: server.model("m")["rollout"]["phase"] == "failed", "the refusal")
    assert_refused(server, server.model("m")["rollout"], "not_onnx")


def test_a_wrong_plan_is_refused_and_later_ones_go_on(serve: Serve, tmp_path: Path) -> None:
    """A misspelt field of model.yaml is told by name; after its correction the push works."""
    server = serve()
    server.deploy("m", GOOD)
    server.plan("m", "rollout: {undo_windw: 10m}")
    reply = exchange(server.control_port, "POST", "/v1/models/m/versions", onnx_models.scale(3).SerializeToString())
    assert (reply.status, reply.json()["reason"]) == (400, "invalid_plan")
    assert "undo_windw" in reply.json()["error"]
    server.plan("m", "rollout: {strategy: instant, undo_window: 10m}")
    assert server.deploy("m", onnx_models.scale(3).SerializeToString())["phase"] == "watching"


def test_external_data_beside_the_model_is_loaded(serve: Serve) -> None:
    """Weights in a second file count as the version's own, also when a killed worker comes back from the cache."""
    server = serve()
    folder = server.repository / "m" / "1"
    folder.mkdir(parents=True)
    made = onnx_models.weighty(1)
    onnx.save_model(made, str(folder / "model.onnx"), save_as_external_data=True, location="weights.bin")
    wait_for(lambda: server.get("/v2/models/m/ready").status == 200, "the model")
    server.named("worker m/1").kill()
    with Traffic(server.http_port, "m", {"1": 1.0}) as traffic:
        traffic.wait_for_answers(20)
    assert (traffic.report.failed, traffic.report.wrong) == ([], 0)
