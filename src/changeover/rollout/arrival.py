"""What came of a worker's start: the status of one that is ready, or the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from changeover.errors import ModelRejected
from changeover.lifecycle.states import LoadingState
from changeover.rollout.fleet import Death
from changeover.rollout.soundness import sound
from changeover.transport.control import Measured, WorkerStatus
from changeover.transport.exits import how

if TYPE_CHECKING:
    from changeover.rollout.loading import Loading


def accepted(loading: Loading, answer: WorkerStatus | Death | None, patience: float) -> WorkerStatus:
    """A ready worker's status; `answer` is what was heard of it last in `patience` seconds.

    Raises:
        ModelRejected: the worker was silent, died or failed, or its signature makes no sense.
    """
    if answer is None:
        raise ModelRejected(f"version {loading.name} was not ready after {patience:g} s", reason="load_timeout")
    if isinstance(answer, Death):
        raise _refused_for(loading, answer)
    if answer.state == LoadingState.FAILED:
        raise ModelRejected(answer.detail or "the worker failed", reason=answer.reason or "worker_failed")
    if answer.signature is not None:
        sound(answer.signature)
    return answer


def _refused_for(loading: Loading, death: Death) -> ModelRejected:
    """A worker that was never ready died: the version is refused for it."""
    sentence = f"the worker of version {loading.name} died by {how(death.code)} while it was {loading.state}"
    if death.cause == "stopped":
        return ModelRejected(f"{sentence}, because it was stopped (SIGSTOP)", reason="worker_stopped")
    if death.cause == "memory_limit":
        return ModelRejected(f"{sentence}, because it used more than runtime.memory_limit", reason="out_of_memory")
    if death.cause == "out_of_memory":
        return ModelRejected(f"{sentence}, because the machine ran out of memory", reason="out_of_memory")
    return ModelRejected(sentence, reason="worker_crashed")


def gate_of(loading: Loading) -> str:
    """The gate a loading was in when it failed; what is proven already is only loaded."""
    if loading.proof is not None:
        return "load"
    return {LoadingState.LOADING: "load", LoadingState.VALIDATING: "warmup"}.get(loading.state, "structure")


def measured(loading: Loading, status: WorkerStatus) -> Measured:
    """What the worker measured, with what the prover did for it."""
    if loading.proof is None:
        return status.measured
    first, mine = loading.proof.measured, status.measured
    return msgspec.structs.replace(
        mine, cache=first.cache, verify_s=first.verify_s, load_s=first.load_s, warmup_s=first.warmup_s,
        gates_s=first.gates_s, open_s=mine.load_s, peak_bytes=max(first.peak_bytes, mine.peak_bytes)
    )  # fmt: skip
