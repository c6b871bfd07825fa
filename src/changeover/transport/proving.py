"""What controller and prover tell each other: the versions to be proven, and how far the gates have come."""

from __future__ import annotations

from typing import Any

import msgspec

from changeover.sequences.declared import Layout
from changeover.transport.control import GateResult, Measured, Signature, WorkerSpec


class Reference(msgspec.Struct, frozen=True):
    """The active version, beside which a candidate is proven.

    Attributes:
        spec: as its worker was told.
        signature: that its worker proved.
        held_bytes: memory that its worker has to itself.
        sequence: of a sequence model, the layout of its states.
    """

    spec: WorkerSpec
    signature: Signature
    held_bytes: int = 0
    sequence: Layout | None = None


class ProverSpec(msgspec.Struct, frozen=True):
    """All a prover needs to prove one loading.

    Attributes:
        worker: what the loading's worker will be told.
        gates: section `gates` of the plan, as plain values.
        run_timeout: seconds of processor time that one run may take.
        reference: None where no version serves.
        golden: folders in which a golden set may lie; the first that there is counts.
        held_bytes: memory that all workers of this server have to themselves.
        private: requests of this model are not kept.
        sample: the supervisor has the gateways give their samples of recent requests.
        disagreement: share of answers that may differ from the active version's, as the plan limits it.
        state_divergence: the same of how far a sequence's answers and states may differ once it was moved.
    """

    worker: WorkerSpec
    gates: dict[str, Any] = {}
    run_timeout: float = 30.0
    reference: Reference | None = None
    golden: list[str] = []
    held_bytes: int = 0
    private: bool = False
    sample: bool = False
    disagreement: float = 0.01
    state_divergence: float = 1e-4


class Prove(msgspec.Struct, frozen=True):
    """Controller to supervisor: fork a prover for this loading."""

    loading: int
    spec: ProverSpec


class ProverStatus(msgspec.Struct, frozen=True):
    """Prover to controller: the gate that begins now, or the end.

    Attributes:
        gate: that begins; the last one at the end.
        state: of the loading while that gate runs (`verifying`, `loading`, `validating`); `ready` or `failed` at the
            end, after which the prover exits.
        gates: what all gates said so far.
        reason, detail: of the refusal.
        signature: of the proven version.
        measured: of the load.
    """

    loading: int
    gate: str
    state: str
    gates: list[GateResult] = []
    reason: str | None = None
    detail: str | None = None
    signature: Signature | None = None
    measured: Measured = Measured()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("ready", "failed")
