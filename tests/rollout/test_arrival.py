"""What came of a worker's start, in words and numbers."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from changeover.errors import ModelRejected
from changeover.lifecycle.states import LoadingState
from changeover.rollout.arrival import accepted, gate_of, measured
from changeover.rollout.fleet import Death
from changeover.rollout.loading import Loading
from changeover.transport.control import WorkerStatus
from changeover.transport.proving import ProverStatus
from tests.rollout.memory_fleet import MEASURED, signature
from tests.rollout.stage import Stage


@pytest.fixture
def loading(stage: Stage) -> Loading:
    """Of version 2, before its first runs."""
    return Loading(7, 2, stage.artifact(2), stage.offer(2).plan, LoadingState.VALIDATING)


def test_a_ready_worker_is_accepted(loading: Loading) -> None:
    """Its status comes back as it is."""
    status = WorkerStatus(7, "ready", signature=signature(), measured=MEASURED)
    assert accepted(loading, status, 5.0) is status


@pytest.mark.parametrize(
    ("answer", "reason", "said"),
    [
        (None, "load_timeout", "was not ready after 5 s"),
        (WorkerStatus(7, "failed", "output_not_finite", "y holds NaN"), "output_not_finite", "y holds NaN"),
        (WorkerStatus(7, "failed"), "worker_failed", "the worker failed"),
        (Death(7, -11, restarts=False), "worker_crashed", "died by SIGSEGV while it was validating"),
        (Death(7, -9, restarts=False, cause="killed"), "worker_crashed", "died by SIGKILL"),
        (Death(7, -40, restarts=False), "worker_crashed", "died by signal 40"),
        (Death(7, -9, restarts=False, cause="stopped"), "worker_stopped", "stopped (SIGSTOP)"),
        (Death(7, -9, restarts=False, cause="memory_limit"), "out_of_memory", "more than runtime.memory_limit"),
        (Death(7, -9, restarts=False, cause="out_of_memory"), "out_of_memory", "the machine ran out of memory"),
    ],
)
def test_any_other_is_a_refusal(loading: Loading, answer: WorkerStatus | Death | None, reason: str, said: str) -> None:
    """With the reason for the record, and a sentence that names what happened."""
    with pytest.raises(ModelRejected) as refused:
        accepted(loading, answer, 5.0)
    assert refused.value.reason == reason
    assert said in refused.value.message


def test_the_gate_it_failed_in(loading: Loading) -> None:
    """By how far it came; what a prover has proven can only fail to load."""
    states = (LoadingState.VERIFYING, LoadingState.LOADING, LoadingState.VALIDATING)
    assert [gate_of(replace(loading, state=state)) for state in states] == ["structure", "load", "warmup"]
    proof = ProverStatus(7, "performance", "ready", signature=signature(), measured=MEASURED)
    assert gate_of(replace(loading, proof=proof)) == "load"


def test_what_the_prover_did_counts(loading: Loading) -> None:
    """Its times, and the larger peak; the worker's own load is the opening."""
    status = WorkerStatus(7, "ready", measured=msgspec.structs.replace(MEASURED, load_s=0.125, peak_bytes=500))
    assert measured(loading, status) is status.measured
    proof = ProverStatus(7, "performance", "ready", signature=signature(), measured=MEASURED)
    told = measured(replace(loading, proof=proof), status)
    assert (told.load_s, told.open_s, told.peak_bytes) == (MEASURED.load_s, 0.125, MEASURED.peak_bytes)
