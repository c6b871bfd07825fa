"""What a prover is told, and what its end says of the version."""

from __future__ import annotations

import asyncio
import signal

import pytest

from changeover.errors import Internal, ModelRejected
from changeover.rollout.fleet import Death, Proof
from changeover.rollout.loading import Loader, Loading
from changeover.transport.proving import ProverStatus
from tests.rollout.memory_fleet import MEASURED, MemoryFleet, signature
from tests.rollout.stage import MODEL, ScriptedJournal, Stage

BEGUN = ProverStatus(2, "warmup", "validating")
KILLED = Proof(BEGUN, Death(2, -9, restarts=False, cause="killed"))


@pytest.fixture
def loader(stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal) -> Loader:
    made = Loader(MODEL, fleet, journal, stage.settings)
    fleet.on_status = made.on_status
    return made


async def active(loader: Loader, stage: Stage) -> Loading:
    offer = stage.offer(1)
    loading = await loader.load(1, offer.artifact, offer.plan)
    await loader.ready(loading, None)
    return loading


async def candidate(loader: Loader, stage: Stage, serving: Loading | None) -> Loading:
    """Version 2 through its gates."""
    offer = stage.offer(2)
    loading = loader.record_new(2, offer.artifact, offer.plan)
    loader.start(loading)
    await loader.proven(loading, serving)
    return loading


def test_a_worker_is_made_of_what_was_proven(loader: Loader, stage: Stage, fleet: MemoryFleet) -> None:
    """After the prover's end, with the signature it found and nothing left to verify."""

    async def scenario() -> None:
        serving = await active(loader, stage)
        fleet.calls.clear()
        loading = await candidate(loader, stage, serving)
        assert fleet.calls == ["prove 2", "spawn 2", "loaded 2"]
        worker = fleet.alive[2]
        assert (worker.verify, worker.signature, worker.hurry) == (False, signature(), False)
        assert [gate.gate for gate in loading.gates] == ["integrity", "warmup"]
        assert (loading.measured.load_s, loading.measured.open_s) == (MEASURED.load_s, MEASURED.load_s)

    asyncio.run(scenario())


def test_what_a_prover_is_told(loader: Loader, stage: Stage, fleet: MemoryFleet) -> None:
    """The candidate, the active version with its memory, the plan's gates, and where a golden set may lie."""

    async def scenario() -> None:
        serving = await active(loader, stage)
        loading = await candidate(loader, stage, serving)
        (spec,) = fleet.proving
        assert (spec.worker.version, spec.worker.digest, spec.worker.verify) == ("2", loading.digest, True)
        assert spec.reference is not None
        assert (spec.reference.spec.version, spec.reference.held_bytes, spec.held_bytes) == ("1", 1001, 1001)
        assert spec.gates["performance"]["max_ratio"] == 1.5
        assert spec.golden == [str(loading.artifact.folder / "golden")]
        assert spec.run_timeout == 30.0
        assert (spec.private, spec.sample, spec.disagreement) == (False, True, 0.01)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("proof", "reason", "words"),
    [
        (Proof(BEGUN, None), "load_timeout", "for 0.05 s at the gate warmup"),
        (Proof(None, None), "load_timeout", "at the gate integrity"),
        (Proof(BEGUN, Death(2, -11, restarts=False)), "prover_crashed", "SIGSEGV at the gate warmup"),
        (Proof(BEGUN, Death(2, 1, restarts=False)), "prover_crashed", "exit code 1"),
        (Proof(BEGUN, Death(2, -signal.SIGPROF, restarts=False)), "run_timeout", "over 30 s of processor time"),
        (Proof(BEGUN, Death(2, -9, restarts=False, cause="out_of_memory")), "out_of_memory", "ran out of memory"),
        (Proof(ProverStatus(2, "accuracy", "failed", [], "accuracy_low", "bad"), None), "accuracy_low", "bad"),
        (Proof(ProverStatus(2, "accuracy", "ready"), None), "model_rejected", "no reason"),
    ],
)
def test_a_prover_that_did_not_pass_it(
    loader: Loader, stage: Stage, fleet: MemoryFleet, proof: Proof, reason: str, words: str
) -> None:
    """The version is refused, no worker was made, and the gate at which it happened is on record."""

    async def scenario() -> None:
        fleet.proofs["2"] = [proof]
        with pytest.raises(ModelRejected, match=words) as caught:
            await candidate(loader, stage, None)
        assert caught.value.reason == reason
        assert "spawn 1" not in fleet.calls
        assert not loader.live

    asyncio.run(scenario())


def test_a_prover_killed_from_outside_is_no_verdict(loader: Loader, stage: Stage, fleet: MemoryFleet) -> None:
    """The next one begins anew."""

    async def scenario() -> None:
        fleet.proofs["2"] = [KILLED, KILLED]
        assert (await candidate(loader, stage, None)).entry is not None
        assert fleet.calls.count("prove 1") == 3

    asyncio.run(scenario())


def test_a_prover_killed_again_and_again_is_the_servers_fault(
    loader: Loader, stage: Stage, fleet: MemoryFleet, journal: ScriptedJournal
) -> None:
    """No gate is blamed."""

    async def scenario() -> None:
        fleet.proofs["2"] = [KILLED] * 3
        with pytest.raises(Internal) as caught:
            await candidate(loader, stage, None)
        assert caught.value.reason == "prover_killed"
        assert journal.loadings.get(1).reason == "prover_killed"
        assert not loader.live

    asyncio.run(scenario())
