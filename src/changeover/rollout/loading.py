"""Bringing one version up in a worker of its own, and letting it go: loading states journalled on the way."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from changeover.errors import ChangeoverError, Internal, ModelRejected
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.signature import require_compatible
from changeover.lifecycle.states import LoadingState, move
from changeover.records.journal import Journal
from changeover.rollout import arrival, proving
from changeover.rollout.described import described
from changeover.rollout.fleet import Fleet
from changeover.rollout.plan import Plan
from changeover.rollout.soundness import sound
from changeover.settings import Settings
from changeover.transport.control import (
    GateResult,
    LoadingEntry,
    Measured,
    WorkerSpec,
    WorkerStatus,
)
from changeover.transport.proving import ProverStatus

_RELEASE_GRACE = 2.0
_GONE_PATIENCE = 5.0
_INTEGRITY = "every byte has the digest it was sealed under"
log = logging.getLogger("changeover.controller")


@dataclass(slots=True)
class Loading:
    """One version in one worker.

    Attributes:
        entry: is there once it is ready, and `recorded` once the journal knows.
        chosen: it served before, so its gates have spoken.
        proof: what the prover found; None before it has, and for what was chosen before.
        drained: seconds that it had been draining when this term took it over.
    """

    number: int
    version: int
    artifact: Artifact
    plan: Plan
    state: LoadingState = LoadingState.NEW
    entry: LoadingEntry | None = None
    recorded: bool = False
    measured: Measured = field(default_factory=Measured)
    gates: list[GateResult] = field(default_factory=list)
    chosen: bool = False
    proof: ProverStatus | None = None
    drained: float = 0.0

    @property
    def digest(self) -> str:
        """Of the sealed artifact."""
        return self.artifact.digest

    @property
    def idle(self) -> float:
        """Seconds after which an unused sequence expires, 0 of a model without any; live ones hold a loading."""
        return self.entry.sequence.idle if self.entry is not None and self.entry.sequence is not None else 0.0

    @property
    def name(self) -> str:
        """`4@ab12`: the number alone does not say which bytes."""
        return f"{self.version}@{self.digest[:4]}"

    def __repr__(self) -> str:
        return f"<Loading {self.number} {self.name} {self.state}>"


class Loader:
    """Loads and releases the versions of one model."""

    def __init__(self, model: str, fleet: Fleet, journal: Journal, settings: Settings) -> None:
        self._model = model
        self._fleet = fleet
        self._journal = journal
        self._state = settings.state
        self._timeout = settings.load_timeout
        self._custom_ops = str(Path(settings.custom_ops).resolve()) if settings.custom_ops else ""
        self._folder = Path(settings.repository) / model if settings.repository is not None else None
        self.live: dict[int, Loading] = {}

    async def load(self, version: int, artifact: Artifact, plan: Plan) -> Loading:
        """Record a new loading of a version that was chosen before, and start its worker: clients wait for it."""
        loading = await asyncio.to_thread(self.record_new, version, artifact, plan)
        loading.chosen = True
        loading.gates.append(
            GateResult("integrity", "passed", _INTEGRITY, {"digest": artifact.digest, "bytes": artifact.manifest.size})
        )
        self.start(loading)
        return loading

    def record_new(self, version: int, artifact: Artifact, plan: Plan) -> Loading:
        """A new loading that is in the journal and has no worker yet; synchronous, for a thread."""
        number = self._journal.loadings.open(self._model, version, artifact.digest, plan.runtime.digest)
        return Loading(number, version, artifact, plan)

    def start(self, loading: Loading) -> None:
        """Take a recorded loading in hand; the worker of one that was not chosen before waits for the gates."""
        self.live[loading.number] = loading
        if loading.chosen:
            self._fleet.spawn(loading.number, self._spec(loading))

    def adopt(self, entry: LoadingEntry, artifact: Artifact, plan: Plan) -> Loading:
        """A loading of the last term whose worker goes on."""
        loading = Loading(entry.loading, int(entry.version), artifact, plan, LoadingState.READY, entry, recorded=True)
        self.live[entry.loading] = loading
        return loading

    async def ready(self, loading: Loading, active: Loading | None) -> None:
        """As `proven`, with the record of it.

        Raises:
            ModelRejected: as `proven`.
            Internal: that it is ready cannot be recorded.
        """
        await self.proven(loading, active)
        try:
            await asyncio.to_thread(self.record_ready, loading)
        except ChangeoverError as error:
            loading.entry = None
            await self._fail(loading, error)
            raise

    async def proven(self, loading: Loading, active: Loading | None) -> None:
        """Have the version proven and wait for its worker; `record_ready` is for the caller to do next.

        Whatever is raised, the worker is gone then, and the loading recorded as failed as far as that is possible.

        Raises:
            ModelRejected: a gate refused it, it crashed, hung or ran out of memory.
            Internal: it could not be proven, by the server's fault (`prover_killed`).
        """
        try:
            if not loading.chosen:
                await self._prove(loading, active)
                self._fleet.spawn(loading.number, self._spec(loading))
            answer = await self._fleet.loaded(loading.number, self._timeout)
            if isinstance(answer, WorkerStatus):
                loading.gates += answer.gates
            status = arrival.accepted(loading, answer, self._timeout)
            self._check_signature(loading, status, active)
            entry = self._entry(loading, status)
        except (ModelRejected, Internal) as error:
            await self._fail(loading, error)
            raise
        loading.entry, loading.measured, loading.state = entry, arrival.measured(loading, status), LoadingState.READY

    async def _prove(self, loading: Loading, active: Loading | None) -> None:
        """Let the prover at it.

        Raises:
            ModelRejected: it refuses the version.
            Internal: it was killed from outside, again and again.
        """
        serving = (active, self._spec(active)) if active is not None else None
        spec = proving.spec_for(loading, self._spec(loading), serving, self._fleet, self._folder)
        proof = await proving.prove(self._fleet, spec, self._timeout)
        loading.gates += proof.gates
        if proof.state != LoadingState.READY or proof.signature is None:
            raise ModelRejected(proof.detail or "the prover gave no reason", reason=proof.reason or "model_rejected")
        sound(proof.signature)
        loading.proof, loading.state = proof, LoadingState.VALIDATING

    def record_ready(self, loading: Loading) -> None:
        """Note that a loading is ready, with what was measured; synchronous, for a thread."""
        measured = msgspec.structs.asdict(loading.measured)
        self._journal.loadings.move(loading.number, LoadingState.READY, measured=measured)

    def on_status(self, status: WorkerStatus) -> None:
        """Follow a worker's progress; the replacement of a ready one passes the states again, and changes nothing."""
        loading = self.live.get(status.loading)
        if loading is None:
            return
        if loading.entry is not None and status.state == LoadingState.FAILED:
            log.error("a new worker of %r refuses to serve: %s", loading, status.detail)
        elif loading.entry is None and loading.proof is None and status.state != LoadingState.FAILED:
            loading.state = LoadingState(status.state)

    async def drain(self, loading: Loading, deadline: float) -> float:
        """A loading drains from now on; seconds that it may: live sequences have `idle` more than the `deadline`.

        When that began is on record, so that no new term begins it anew.
        """
        if loading.idle and loading.state is LoadingState.READY:
            loading.state = move(loading.state, LoadingState.DRAINING)
            await self._record(loading)
        return max(deadline + loading.idle - loading.drained, 0.0)

    async def release(self, loading: Loading) -> bool:
        """End the worker of a drained loading; True when it was reaped in time."""
        if loading.state is LoadingState.READY:
            loading.state = move(loading.state, LoadingState.DRAINING)
        self._fleet.retire(loading.number, _RELEASE_GRACE)
        gone = await self._fleet.gone(loading.number, _RELEASE_GRACE + _GONE_PATIENCE)
        loading.state = move(loading.state, LoadingState.RELEASED)
        self._fleet.forget(loading.number)
        self.live.pop(loading.number, None)
        await self._record(loading)
        return gone

    async def give_up(self, loading: Loading, error: ChangeoverError) -> None:
        """End a loading that nobody waits for any more, unless it has ended already."""
        if loading.number in self.live:
            loading.entry = None
            await self._fail(loading, error)

    async def _fail(self, loading: Loading, error: ChangeoverError) -> None:
        """The worker ends; what failed is on record."""
        told = any(gate.result == "failed" for gate in loading.gates)
        if isinstance(error, ModelRejected) and not told:  # a journal that cannot be written is no gate's verdict
            gate = arrival.gate_of(loading)
            loading.gates.append(GateResult(gate, "failed", error.message, {"reason": error.reason}))
        loading.state = LoadingState.FAILED
        self.live.pop(loading.number, None)
        self._fleet.retire(loading.number, 0.0)
        await self._fleet.gone(loading.number, _GONE_PATIENCE)
        self._fleet.forget(loading.number)
        await self._record(loading, (error.reason, error.message))

    async def _record(self, loading: Loading, failure: tuple[str, str] | None = None) -> None:
        """Note the end of a loading; a journal that cannot be written holds up no release."""
        try:
            await asyncio.to_thread(self._journal.loadings.move, loading.number, loading.state, failure=failure)
        except ChangeoverError as error:
            log.error("loading %d is %s but that cannot be recorded: %s", loading.number, loading.state, error.message)  # noqa: TRY400

    def _check_signature(self, loading: Loading, status: WorkerStatus, active: Loading | None) -> None:
        if active is None or active.entry is None or status.signature is None:
            return
        if loading.plan.rollout.new_signature:
            return
        before, after = sound(active.entry.signature), sound(status.signature)
        loading.state = LoadingState.VERIFYING  # what fails now fails in the structure gate
        require_compatible(before, after)
        loading.state = LoadingState.VALIDATING

    def _spec(self, loading: Loading) -> WorkerSpec:
        runtime = loading.plan.runtime
        return WorkerSpec(
            loading=loading.number,
            model=self._model,
            version=str(loading.version),
            digest=loading.digest,
            path=str(loading.artifact.model),
            cache=str(self._state / "cache"),
            empty=str(self._state / "empty"),
            optimization=runtime.optimization,
            instances=runtime.instances,
            intra_op_threads=runtime.intra_op_threads,
            providers=runtime.providers,
            max_batch=runtime.max_batch,
            memory_limit=runtime.memory_limit or 0,
            run_timeout=runtime.run_timeout,
            session=runtime.session,
            warmup_finite=loading.plan.gates.warmup.finite,
            sequence=loading.plan.sequence,
            verify=loading.proof is None,
            signature=loading.proof.signature if loading.proof is not None else None,
            custom_ops=self._custom_ops,
            weights=str(self._state / "weights"),
        )

    def _entry(self, loading: Loading, status: WorkerStatus) -> LoadingEntry:
        if status.signature is None:
            raise ModelRejected("the worker told no signature", reason="worker_failed")
        runtime = loading.plan.runtime
        config, labels = described(loading, self._folder, status.signature)
        return LoadingEntry(
            loading.number,
            str(loading.version),
            loading.digest,
            status.signature,
            runtime.max_batch,
            runtime.run_timeout,
            runtime.queue_limit,
            runtime.max_queue_delay,
            loading.plan.private,
            labels,
            config,
            status.sequence,
        )
