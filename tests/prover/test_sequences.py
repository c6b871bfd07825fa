"""Sequence models in the prover: what clients see of them, and when the gate `state` is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from changeover.errors import ModelRejected
from changeover.prover import sequences
from changeover.prover.subject import Subject
from changeover.runtime import faults
from changeover.runtime.stateless import Stateless
from changeover.sequences.declared import Declared
from changeover.transport.control import Signature, WorkerSpec
from changeover.transport.proving import ProverSpec, Reference
from tests import sequence_models as models

NOTHING = Signature([], [], True)


def worker(folder: Path, data: bytes, said: dict[str, Any] | None, number: int = 1) -> WorkerSpec:
    path = folder / f"{number}.onnx"
    path.write_bytes(data)
    declared = msgspec.convert(said, Declared) if said is not None else None
    return WorkerSpec(
        number, "m", "1", digest="", path=str(path), cache="", empty="", optimization="off", sequence=declared
    )


def subject(spec: WorkerSpec) -> Subject:
    return Subject(faults.load(spec).session, True, 8, 30.0)


def gate(spec: ProverSpec, candidate: Subject, active: Subject | None) -> Any:
    return sequences.state(spec, spec.worker, candidate, lambda: active, lambda: None)


def test_another_model_has_no_such_gate(tmp_path: Path) -> None:
    """Without the section no gate speaks of states."""
    spec = worker(tmp_path, models.forecast("lstm"), None)
    assert gate(ProverSpec(spec), subject(spec), None) is None


def test_the_gate_beside_the_active_version(tmp_path: Path) -> None:
    """It needs the layout that the active worker told, and room for its session."""
    active = worker(tmp_path, models.forecast("lstm"), models.FORECAST_STATE)
    beside, candidate = subject(active), worker(tmp_path, models.forecast("half"), models.FORECAST_STATE, 2)
    assert isinstance(beside.session, Stateless)
    reference = Reference(active, NOTHING, 0, beside.session.layout)
    spec = ProverSpec(candidate, reference=reference)
    assert gate(spec, subject(candidate), beside).evidence["reason"] == "state_diverges"
    assert "no room" in gate(spec, subject(candidate), None).detail
    first = ProverSpec(candidate)
    assert gate(first, subject(candidate), None).result == "skipped"


def test_an_active_version_that_cannot_be_loaded(tmp_path: Path) -> None:
    """That is no fault of the candidate."""
    spec = worker(tmp_path, models.forecast("lstm"), models.FORECAST_STATE)
    loaded = subject(spec)
    assert isinstance(loaded.session, Stateless)
    reference = Reference(spec, NOTHING, 0, loaded.session.layout)

    def gone() -> Subject:
        raise ModelRejected("its file is gone", reason="load_failed")

    found = sequences.state(ProverSpec(spec, reference=reference), spec, loaded, gone, lambda: None)
    assert found is not None
    assert (found.result, "its file is gone" in found.detail) == ("skipped", True)


def test_sequences_have_no_version_without_state_to_go_to(tmp_path: Path) -> None:
    """A candidate that declares none is refused while the active version keeps some; after another one it is not."""
    active = worker(tmp_path, models.forecast("lstm"), models.FORECAST_STATE)
    beside, plain = subject(active), worker(tmp_path, models.forecast("lstm"), None, 2)
    assert isinstance(beside.session, Stateless)
    found = gate(
        ProverSpec(plain, reference=Reference(active, NOTHING, 0, beside.session.layout)), subject(plain), beside
    )
    assert (found.result, found.evidence["reason"]) == ("failed", "sequences_dropped")
    assert gate(ProverSpec(plain, reference=Reference(plain, NOTHING, 0)), subject(plain), None) is None


def test_a_model_does_not_begin_to_keep_state_beside_a_version_that_keeps_none(tmp_path: Path) -> None:
    """Requests go to both for a while: some would name no sequence, and others leave no state."""
    spec = worker(tmp_path, models.forecast("lstm"), models.FORECAST_STATE)
    plain = Reference(worker(tmp_path, models.forecast("lstm"), None, 2), NOTHING, 0, None)
    found = gate(ProverSpec(spec, reference=plain), subject(spec), None)
    assert (found.result, found.evidence["reason"]) == ("failed", "sequences_begun")
    assert gate(ProverSpec(spec), subject(spec), None).result == "skipped"
