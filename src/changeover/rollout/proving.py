"""Having a candidate proven: what the prover is told, and what its end says of the version."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from changeover.errors import ChangeoverError, Internal, ModelRejected
from changeover.rollout.fleet import Death, Fleet
from changeover.transport.control import GateResult, WorkerSpec
from changeover.transport.exits import how
from changeover.transport.proving import ProverSpec, ProverStatus, Reference

if TYPE_CHECKING:
    from changeover.rollout.loading import Loading

GOLDEN: Final = "golden"
"""Folder of a golden set, beside the version or the model."""
_TRIES: Final = 3
_FROM_OUTSIDE: Final = ("killed", "stopped")
"""Deaths of a prover that say nothing of the version."""
_FIRST: Final = ProverStatus(0, "integrity", "verifying")
log = logging.getLogger("changeover.controller")


def spec_for(
    candidate: Loading, worker: WorkerSpec, active: tuple[Loading, WorkerSpec] | None, fleet: Fleet, model: Path | None
) -> ProverSpec:
    """What the prover of a candidate is told.

    Args:
        candidate: what is to be proven.
        worker: what its worker will be told.
        active: the loading that serves, and what its worker was told.
        fleet: knows how much memory is held.
        model: the model's folder in the repository.
    """
    golden = [candidate.artifact.folder / GOLDEN] + ([model / GOLDEN] if model is not None else [])
    plan, reference = candidate.plan, None
    private = plan.private or (active is not None and active[0].plan.private)
    if active is not None and active[0].entry is not None and not plan.rollout.new_signature:
        held = fleet.memory(active[0].number) or 0
        reference = Reference(active[1], active[0].entry.signature, held, active[0].entry.sequence)
    compares = reference is not None and plan.gates.accuracy.enabled and not any(map(Path.is_dir, golden))
    return ProverSpec(
        worker,
        msgspec.to_builtins(plan.gates),
        plan.runtime.run_timeout,
        reference,
        [str(folder) for folder in golden],
        fleet.held(),
        private=private,
        sample=compares and not private,
        disagreement=plan.rollout.limits.disagreement,
        state_divergence=plan.rollout.limits.state_divergence,
    )


async def prove(fleet: Fleet, spec: ProverSpec, patience: float) -> ProverStatus:
    """Have a candidate proven; its last report, `ready` or `failed`, with what all gates said.

    A prover that is killed from outside is no sign of a bad version: the next one begins anew.

    Raises:
        Internal: that happened again and again (`prover_killed`).
    """
    for _ in range(_TRIES):
        proof = await fleet.prove(spec, patience)
        last = proof.status or _FIRST
        if last.ended:
            return last
        if proof.death is None or proof.death.cause not in _FROM_OUTSIDE:
            return _failed(last, _verdict(spec, last, proof.death, patience))
        log.warning("the prover of %s/%s was %s at its gate %s; another one begins",
                    spec.worker.model, spec.worker.version, proof.death.cause, last.gate)  # fmt: skip
    raise Internal(
        f"{_TRIES} provers of version {spec.worker.version} were killed from outside the server", reason="prover_killed"
    )


def _failed(last: ProverStatus, error: ChangeoverError) -> ProverStatus:
    failed = GateResult(last.gate, "failed", error.message, {"reason": error.reason})
    return msgspec.structs.replace(
        last, state="failed", gates=[*last.gates, failed], reason=error.reason, detail=error.message
    )


def _verdict(spec: ProverSpec, last: ProverStatus, death: Death | None, patience: float) -> ModelRejected:
    """What a prover's silence or death says of the version."""
    where = f"at the gate {last.gate}"
    if death is None:
        return ModelRejected(f"nothing came of the prover for {patience:g} s {where}", reason="load_timeout")
    if death.code == -signal.SIGPROF:
        return ModelRejected(
            f"a run took over {spec.run_timeout:g} s of processor time {where} (runtime.run_timeout)",
            reason="run_timeout",
        )
    if death.cause == "out_of_memory":
        return ModelRejected(f"the machine ran out of memory {where}", reason="out_of_memory")
    return ModelRejected(f"the prover died by {how(death.code)} {where}", reason="prover_crashed")
