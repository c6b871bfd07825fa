"""Faults that are injected into a real server, and what its clients and operators see of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from changeover.cli.main import run
from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.conftest import Serve

ROW = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
DOUBLE = onnx_models.scale(2).SerializeToString()


def served(serve: Serve, folder: Path, **faults: Any) -> Server:
    """A server that serves version 1 of a model whose later versions have these faults."""
    file = folder / "faults.json"
    file.write_text(json.dumps({"models": {"m": {name.lstrip("v"): fault for name, fault in faults.items()}}}))
    server = serve(faults=str(file))
    server.deploy("m", DOUBLE)
    return server


def test_a_fault_strikes_its_version_only(serve: Serve, tmp_path: Path, capsys: Any) -> None:
    """The version that is pinned errs while its file is there; status and log say that this is a rehearsal."""
    arming = tmp_path / "armed"
    server = served(serve, tmp_path, v2={"kind": "error", "when": str(arming)})
    server.deploy("m", DOUBLE, 2)
    assert server.infer("m", ROW, version="2").status == 200
    arming.touch()
    failed = server.infer("m", ROW, version="2")
    assert (failed.status, failed.json()["reason"]) == (500, "injected_fault")
    assert run(["status", "--control", f"http://127.0.0.1:{server.control_port}"]) == 0
    assert "faults are injected into m/2" in capsys.readouterr().err
    assert "THIS IS A REHEARSAL" in server.log.read_text()


def test_a_gate_sees_what_is_wrong_from_the_start(serve: Serve, tmp_path: Path) -> None:
    """NaN in the warm-up refuses the version; after the warm-up nobody has seen it yet."""
    server = served(serve, tmp_path, v2={"kind": "nan"}, v3={"kind": "nan", "after": 100_000})
    assert server.deploy("m", DOUBLE, 2)["reason"] == "output_not_finite"
    assert server.deploy("m", DOUBLE, 3)["phase"] in ("watching", "succeeded")


def test_a_crashed_worker_is_replaced_with_its_fault(serve: Serve, tmp_path: Path) -> None:
    """The replacement counts its runs anew, and crashes as well: the second crash shows it."""
    server = served(serve, tmp_path, v2={"kind": "crash", "when": str(tmp_path / "armed")})
    server.deploy("m", DOUBLE, 2)
    (tmp_path / "armed").touch()
    failed = server.infer("m", ROW, version="2")
    assert (failed.status, failed.json()["reason"]) == (500, "worker_crashed")
    deaths = wait_for(lambda: (_worker(server).get("deaths") or 0) > 1 and _worker(server), "two deaths")
    assert deaths["last_death"] == {"cause": "crashed", "code": -11}


def _worker(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = next(v for v in server.model("m")["versions"] if v["version"] == "2")["worker"] or {}
    return found
