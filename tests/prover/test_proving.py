"""One candidate through all gates, in this process and without the sandbox."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from changeover.lifecycle.seal import seal_folder
from changeover.prover.proving import Proving
from changeover.rollout.plan_gates import AccuracyGate, GatesPlan, PerformanceGate, ResourcesGate
from changeover.runtime import memory
from changeover.transport.control import Signature, TensorEntry, WorkerSpec
from changeover.transport.proving import ProverSpec, ProverStatus, Reference
from tests import onnx_models

ROWS = np.random.default_rng(2).random((30, 4), np.float32)
LABELS = ROWS.argmax(axis=1)
TOLD = Signature([TensorEntry("x", "FP32", [-1, 4])], [TensorEntry("y", "FP32", [-1, 4])], True)


class Bench:
    """A state folder, and what a prover reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("artifacts", "cache", "empty"):
            (folder / name).mkdir()
        self.reports: list[ProverStatus] = []

    def worker(self, model: bytes, number: int = 1, **more: object) -> WorkerSpec:
        source = self.folder / f"source-{number}"
        source.mkdir()
        (source / "model.onnx").write_bytes(model)
        sealed = seal_folder(source, self.folder / "artifacts")
        places = {"cache": str(self.folder / "cache"), "empty": str(self.folder / "empty")}
        values = {"digest": sealed.digest, "path": str(sealed.model), **places, **more}
        return WorkerSpec(number, "m", str(number), **values)  # type: ignore[arg-type]

    def prove(self, worker: WorkerSpec, plan: GatesPlan | None = None, **more: object) -> ProverStatus:
        spec = ProverSpec(worker, msgspec.to_builtins(plan or GatesPlan()), **more)  # type: ignore[arg-type]
        Proving(spec, self.reports.append, ["a fence"]).run()
        assert [report.ended for report in self.reports].count(True) == 1
        return self.reports[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def results(status: ProverStatus) -> dict[str, str]:
    return {gate.gate: gate.result for gate in status.gates}


def test_a_sound_first_version(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gate speaks in its turn; signature, measures and evidence are told at the end."""
    marks = iter([memory.Marks(1000, 300, 1200), memory.Marks(1400, 350, 1700)])  # this process has freed memory to use
    monkeypatch.setattr(memory.Marks, "now", lambda: next(marks))
    end = bench.prove(bench.worker(onnx_models.scale(2).SerializeToString()))
    assert (end.state, end.reason, end.signature) == ("ready", None, TOLD)
    assert results(end) == {
        "integrity": "passed", "structure": "passed", "warmup": "passed", "resources": "passed",
        "accuracy": "skipped", "performance": "skipped",
    }  # fmt: skip
    assert [r.gate for r in bench.reports[:-1]] == [
        "integrity", "structure", "load", "warmup", "resources", "accuracy", "state", "performance",
    ]  # fmt: skip
    assert (end.measured.cache, end.measured.load_s > 0, end.measured.peak_bytes) == ("miss", True, 650)


def test_beside_an_active_version(bench: Bench) -> None:
    """It is loaded into the same process, and the second load comes from the cache."""
    active = bench.worker(onnx_models.scale(2).SerializeToString())
    worker = bench.worker(onnx_models.scale(3).SerializeToString(), 2)
    end = bench.prove(worker, reference=Reference(active, TOLD))
    assert results(end)["performance"] == "passed"
    bench.reports.clear()
    assert bench.prove(worker, reference=Reference(active, TOLD)).measured.cache == "hit"


def test_another_signature_ends_before_the_load(bench: Bench) -> None:
    """Clients of the active version could not use it, so nothing more is tried."""
    worker = bench.worker(onnx_models.scale(3, columns=5).SerializeToString(), 2)
    end = bench.prove(worker, reference=Reference(worker, TOLD))
    assert (end.state, end.reason, end.gate) == ("failed", "signature_changed", "structure")
    assert list(results(end)) == ["integrity", "structure"]


def test_damaged_bytes(bench: Bench) -> None:
    """What was sealed is what is proven."""
    worker = bench.worker(onnx_models.scale(3).SerializeToString())
    Path(worker.path).chmod(0o600)
    Path(worker.path).write_bytes(onnx_models.scale(4).SerializeToString())
    end = bench.prove(worker)
    assert (end.reason, end.gate) == ("artifact_damaged", "integrity")


def test_no_room_for_the_active_version(bench: Bench) -> None:
    """Then there is no comparison, and the reason says so."""
    active = bench.worker(onnx_models.scale(2).SerializeToString())
    end = bench.prove(active, reference=Reference(active, TOLD, held_bytes=1 << 60))
    assert "no room" in end.gates[-1].detail
    assert end.state == "ready"


def test_an_active_version_that_cannot_be_loaded_is_no_fault_of_the_candidate(bench: Bench) -> None:
    """Its file is gone from the disk; it serves on from memory."""
    worker = bench.worker(onnx_models.scale(2).SerializeToString())
    gone = msgspec.structs.replace(worker, path="/nowhere/model.onnx", digest="0" * 64)
    end = bench.prove(worker, reference=Reference(gone, TOLD))
    assert (results(end)["performance"], end.state) == ("skipped", "ready")


def test_gates_that_are_switched_off(bench: Bench) -> None:
    """They are on record as skipped, with the field that did it."""
    plan = GatesPlan(
        accuracy=AccuracyGate(enabled=False),
        performance=PerformanceGate(enabled=False),
        resources=ResourcesGate(enabled=False),
    )
    end = bench.prove(bench.worker(onnx_models.scale(2).SerializeToString()), plan)
    off = [gate for gate in end.gates if gate.result == "skipped"]
    assert [gate.detail for gate in off] == [
        f"gates.{name}.enabled is false" for name in ("resources", "accuracy", "performance")
    ]


def test_a_golden_set_beside_the_version(bench: Bench) -> None:
    """Found in the first folder that there is."""
    worker = bench.worker(onnx_models.scale(2).SerializeToString())
    end = bench.prove(worker, golden=[str(bench.folder / "none"), *golden_set(bench, y=2 * ROWS)])
    assert results(end)["accuracy"] == "passed"


def golden_set(bench: Bench, **arrays: object) -> list[str]:
    """Thirty rows, and what is told of them."""
    folder = bench.folder / "golden"
    folder.mkdir()
    np.savez(folder / "a.npz", x=ROWS, **arrays)  # type: ignore[arg-type]
    return [str(folder)]


@pytest.mark.parametrize("least", [None, 0.9])
@pytest.mark.parametrize("metric", ["top1", "topk"])
def test_a_golden_set_that_the_metric_does_not_fit(bench: Bench, metric: Any, least: float | None) -> None:
    """Refused, with or without a minimum, also where the active version would be asked."""
    worker = bench.worker(onnx_models.scale(-5).SerializeToString())
    plan = GatesPlan(accuracy=AccuracyGate(metric=metric, min=least))
    end = bench.prove(worker, plan, golden=golden_set(bench, y=2 * ROWS), reference=Reference(worker, TOLD))
    assert (end.state, end.reason, end.gate) == ("failed", "golden_invalid", "accuracy")


def test_a_minimum_beside_an_active_version_that_cannot_be_loaded(bench: Bench) -> None:
    """The sentence and the reason are not the candidate's; without a minimum the gate is skipped."""
    worker, golden = bench.worker(onnx_models.scale(2).SerializeToString()), golden_set(bench, labels=LABELS)
    gone = Reference(msgspec.structs.replace(worker, path="/nowhere/model.onnx", digest="0" * 64), TOLD)
    for least, result in ((0.9, "failed"), (None, "skipped")):
        bench.reports.clear()
        plan = GatesPlan(accuracy=AccuracyGate(metric="agreement", min=least))
        end = bench.prove(worker, plan, golden=golden, reference=gone)
        gate = next(gate for gate in end.gates if gate.gate == "accuracy")
        assert (gate.result, "the active version cannot be loaded" in gate.detail) == (result, True)
        assert end.reason == ("golden_run_failed" if least else None)


@pytest.mark.parametrize(("least", "result"), [(0.9, "failed"), (None, "skipped")])
def test_agreement_without_room_for_the_active_version(bench: Bench, least: float | None, result: str) -> None:
    """It serves, so nothing else is said; a minimum that cannot be shown refuses the version."""
    worker, golden = bench.worker(onnx_models.scale(2).SerializeToString()), golden_set(bench, labels=LABELS)
    plan = GatesPlan(accuracy=AccuracyGate(metric="agreement", min=least))
    end = bench.prove(worker, plan, golden=golden, reference=Reference(worker, TOLD, held_bytes=1 << 60))
    gate = next(gate for gate in end.gates if gate.gate == "accuracy")
    assert (gate.result, "no room for a second session" in gate.detail) == (result, True)
    assert end.reason == ("golden_run_failed" if least else None)


ALONE = """
import os
import sys
from pathlib import Path
from changeover.prover import process as prover
from changeover.worker import process as worker
from tests import onnx_models
from tests.prover.test_proving import Bench
worker.preload()  # as the zygote has
prover.preload()
if child := os.fork():  # as provers are: who is executed begins with the most that his parent ever took
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
bench = Bench(Path(sys.argv[1]))
end = bench.prove(bench.worker(onnx_models.weighty(8).SerializeToString(), memory_limit=int(sys.argv[2])))
print(end.state, end.reason, end.measured.peak_bytes)
"""


def proven_alone(folder: Path, memory_limit: int) -> list[str]:
    """State, reason and most bytes taken, of a model of 8 MiB, in a process that has given no memory back before."""
    folder.mkdir()
    command = [sys.executable, "-c", ALONE, str(folder), str(memory_limit)]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, cwd=root)
    return ended.stdout.split()


def test_more_than_its_memory_limit(tmp_path: Path) -> None:
    """What it took is over what its worker may have; with more of it the same model is taken, and weighed."""
    assert proven_alone(tmp_path / "small", 1 << 20)[1] == "out_of_memory"
    state, reason, peak = proven_alone(tmp_path / "large", 512 << 20)  # of addresses: threads claim some of their own
    assert (state, reason) == ("ready", "None")
    assert 4 << 20 < int(peak) < 64 << 20
