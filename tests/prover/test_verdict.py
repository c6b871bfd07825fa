"""A gate's refusal."""

from __future__ import annotations

from changeover.prover.verdict import failed
from changeover.transport.control import GateResult


def test_a_refusal() -> None:
    """The reason comes first in the evidence."""
    wanted = GateResult("accuracy", "failed", "too low", {"reason": "accuracy_low", "value": 0.5})
    assert failed("accuracy", "accuracy_low", "too low", {"value": 0.5}) == wanted
    assert failed("load", "out_of_memory", "full").evidence == {"reason": "out_of_memory"}
