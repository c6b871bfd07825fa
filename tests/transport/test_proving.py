"""The messages between controller and prover."""

from __future__ import annotations

import msgspec
import pytest

from changeover.transport.control import GateResult, Measured, Signature, TensorEntry, WorkerSpec, encode
from changeover.transport.proving import Prove, ProverSpec, ProverStatus, Reference

WORKER = WorkerSpec(1, "m", "1", digest="d", path="p", cache="c", empty="e")
TOLD = Signature([TensorEntry("x", "FP32", [-1])], [TensorEntry("y", "FP32", [-1])], True)


def test_messages_arrive_as_they_were() -> None:
    """Through JSON and back, with all their parts."""
    spec = ProverSpec(WORKER, {"accuracy": {"min": 0.9}}, 2.0, Reference(WORKER, TOLD, 7), ["/g"], 9)
    assert msgspec.json.decode(encode(Prove(1, spec)), type=Prove) == Prove(1, spec)
    gates = [GateResult("warmup", "passed", "fine", {"finite": True})]
    status = ProverStatus(1, "warmup", "ready", gates, signature=TOLD, measured=Measured(cache="hit"))
    assert msgspec.json.decode(encode(status), type=ProverStatus) == status


@pytest.mark.parametrize(
    ("state", "ended"), [("verifying", False), ("validating", False), ("ready", True), ("failed", True)]
)
def test_the_end(state: str, ended: bool) -> None:
    """Nothing comes after it."""
    assert ProverStatus(1, "warmup", state).ended is ended
