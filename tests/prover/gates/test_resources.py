"""The resources gate: old and new beside the limit, and beside what is free."""

from __future__ import annotations

import pytest

from changeover.prover.gates.resources import resources
from changeover.rollout.plan_gates import ResourcesGate
from changeover.runtime.machine import Memory

MIB = 1 << 20


@pytest.mark.parametrize(
    ("held", "peak", "free", "of", "words"),
    [
        (300, 500, 900, "host", None),
        (300, 501, 900, "host", "over 80% of the machine's 1,000 MiB"),
        (300, 501, 900, "cgroup", "over 80% of the control group's 1,000 MiB"),
        (0, 500, 499, "host", "499 MiB of the machine's memory are free"),
    ],
)
def test_a_prediction(held: int, peak: int, free: int, of: str, words: str | None) -> None:
    """The limit is met exactly; over it the sentence says of what."""
    found = resources(ResourcesGate(), held * MIB, peak * MIB, Memory(1000 * MIB, free * MIB, of))
    assert found.evidence["predicted_bytes"] == (held + peak) * MIB
    assert (found.result, found.evidence.get("reason")) == (
        ("passed", None) if words is None else ("failed", "memory_predicted")
    )
    assert (words or "fit into 800 MiB") in found.detail
