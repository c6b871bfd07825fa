"""The resources gate: will old and new fit into memory together?"""

from __future__ import annotations

from typing import Final

from changeover.prover.verdict import failed
from changeover.rollout.plan_gates import ResourcesGate
from changeover.runtime.machine import Memory
from changeover.transport.control import GateResult

_MIB: Final = 1 << 20


def resources(rule: ResourcesGate, held: int, peak: int, memory: Memory) -> GateResult:
    """Predict the peak of a changeover.

    Args:
        rule: of the plan.
        held: bytes that all workers of the server have to themselves now.
        peak: bytes that the candidate took at most while it was loaded and warmed up.
        memory: of the control group or the machine, when the prover began.
    """
    limit = int(memory.total * rule.max_memory)
    evidence = {
        "held_bytes": held, "candidate_bytes": peak, "predicted_bytes": held + peak, "limit_bytes": limit,
        "max_memory": rule.max_memory, "total_bytes": memory.total, "free_bytes": memory.free, "of": memory.of,
    }  # fmt: skip
    whose = "the control group's" if memory.of == "cgroup" else "the machine's"
    sentence = f"{_mib(held)} MiB held by workers and {_mib(peak)} MiB for the candidate"
    if held + peak > limit:
        detail = f"{sentence} are over {rule.max_memory:.0%} of {whose} {_mib(memory.total)} MiB"
    elif peak > memory.free:
        detail = f"the candidate takes {_mib(peak)} MiB, and {_mib(memory.free)} MiB of {whose} memory are free"
    else:
        return GateResult("resources", "passed", f"{sentence} fit into {_mib(limit)} MiB", evidence)
    return failed("resources", "memory_predicted", detail, evidence)


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f}"
