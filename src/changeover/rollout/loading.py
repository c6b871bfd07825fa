"""Bringing one version up in a worker of its own, and letting it go: loading states journalled on the way."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns

import msgspec

from changeover.errors import ChangeoverError, ModelRejected
from changeover.lifecycle.artifacts import Artifact
from changeover.lifecycle.signature import ModelSignature, require_compatible
from changeover.lifecycle.states import LoadingState, move
from changeover.records.journal import Journal
from changeover.rollout.fleet import Death, Fleet
from changeover.rollout.plan import Plan
from changeover.tensors import Datatype
from changeover.transport.channel import MAX_DIMS
from changeover.transport.control import (
    GateResult,
    LoadingEntry,
    Measured,
    Signature,
    WorkerSpec,
    WorkerStatus,
)
from changeover.transport.exits import how

_RELEASE_GRACE = 2.0
_GONE_PATIENCE = 5.0
_INTEGRITY = "every byte has the digest it was sealed under"
log = logging.getLogger("changeover.controller")


@dataclass(slots=True)
class Loading:
    """One version in one worker. `entry` is there once it is ready."""

    number: int
    version: int
    artifact: Artifact
    plan: Plan
    state: LoadingState = LoadingState.NEW
    entry: LoadingEntry | None = None
    measured: Measured = field(default_factory=Measured)
    gates: list[GateResult] = field(default_factory=list)
    started_ns: int = field(default_factory=monotonic_ns)

    @property
    def digest(self) -> str:
        """Of the sealed artifact."""
        return self.artifact.digest

    @property
    def name(self) -> str:
        """`4@ab12`: the number alone does not say which bytes."""
        return f"{self.version}@{self.digest[:4]}"

    def __repr__(self) -> str:
        return f"<Loading {self.number} {self.name} {self.state}>"


class Loader:
    """Loads and releases the versions of one model.

    Args:
        state: the server's state folder.
        timeout: seconds a worker may take until it is ready.
    """

    def __init__(self, model: str, fleet: Fleet, journal: Journal, state: Path, timeout: float) -> None:
        self._model = model
        self._fleet = fleet
        self._journal = journal
        self._state = state
        self._timeout = timeout
        self.live: dict[int, Loading] = {}

    async def load(self, version: int, artifact: Artifact, plan: Plan) -> Loading:
        """Record a new loading and start its worker."""
        loading = await asyncio.to_thread(self.record_new, version, artifact, plan)
        self.start(loading)
        return loading

    def record_new(self, version: int, artifact: Artifact, plan: Plan) -> Loading:
        """A new loading that is in the journal and has no worker yet; synchronous, for a thread."""
        number = self._journal.loadings.open(self._model, version, artifact.digest, plan.runtime.digest)
        loading = Loading(number, version, artifact, plan)
        loading.gates.append(
            GateResult("integrity", "passed", _INTEGRITY, {"digest": artifact.digest, "bytes": artifact.manifest.size})
        )
        return loading

    def start(self, loading: Loading) -> None:
        """Start the worker of a recorded loading."""
        self.live[loading.number] = loading
        self._fleet.spawn(loading.number, self._spec(loading))

    def adopt(self, entry: LoadingEntry, artifact: Artifact, plan: Plan) -> Loading:
        """A loading of the last term whose worker goes on."""
        loading = Loading(entry.loading, int(entry.version), artifact, plan, LoadingState.READY, entry)
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
        """Wait until the worker has proven itself; `record_ready` is for the caller to do next.

        Whatever is raised, the worker is gone then, and the loading recorded as failed as far as that is possible.

        Raises:
            ModelRejected: it has not: a gate refused it, it crashed, hung or ran out of memory.
        """
        try:
            answer = await self._fleet.loaded(loading.number, self._timeout)
            if isinstance(answer, WorkerStatus):
                loading.gates += answer.gates
            status = self._accepted(loading, answer)
            self._check_signature(loading, status, active)
            entry = self._entry(loading, status)
        except ModelRejected as error:
            await self._fail(loading, error)
            raise
        loading.entry, loading.measured, loading.state = entry, status.measured, LoadingState.READY

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
        elif loading.entry is None and status.state != LoadingState.FAILED:
            loading.state = LoadingState(status.state)

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

    async def _fail(self, loading: Loading, error: ChangeoverError) -> None:
        """The worker ends; what failed is on record."""
        if isinstance(error, ModelRejected):  # a journal that cannot be written is no gate's verdict
            gate = _gate_of(loading.state)
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

    def _accepted(self, loading: Loading, answer: WorkerStatus | Death | None) -> WorkerStatus:
        """A ready worker's status, or the reason why there is none."""
        if answer is None:
            raise ModelRejected(
                f"version {loading.name} was not ready after {self._timeout:g} s", reason="load_timeout"
            )
        if isinstance(answer, Death):
            raise _death(loading, answer)
        if answer.state == LoadingState.FAILED:
            raise ModelRejected(answer.detail or "the worker failed", reason=answer.reason or "worker_failed")
        if answer.signature is not None:
            _require_sound(answer.signature)
        return answer

    def _check_signature(self, loading: Loading, status: WorkerStatus, active: Loading | None) -> None:
        if active is None or active.entry is None or status.signature is None:
            return
        before, after = _signature(active.entry.signature), _signature(status.signature)
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
            warmup_finite=loading.plan.gates.warmup.finite,
        )

    def _entry(self, loading: Loading, status: WorkerStatus) -> LoadingEntry:
        if status.signature is None:
            raise ModelRejected("the worker told no signature", reason="worker_failed")
        runtime = loading.plan.runtime
        return LoadingEntry(
            loading.number,
            str(loading.version),
            loading.digest,
            status.signature,
            runtime.max_batch,
            runtime.run_timeout,
            runtime.queue_limit,
            runtime.max_queue_delay,
        )


def _require_sound(told: Signature) -> None:
    """Gateways build their tables of it, and the worker that told it may be hostile.

    Raises:
        ModelRejected: no model has such inputs and outputs (`signature_unsound`).
    """
    for entry in (*told.inputs, *told.outputs):
        if entry.datatype not in Datatype.__members__:
            raise _unsound(f"{entry.name!r} is {entry.datatype!r}, which is no datatype of the protocol")
        if len(entry.shape) > MAX_DIMS or any(size < -1 for size in entry.shape):
            raise _unsound(f"{entry.name!r} has an impossible shape")
    for entries in (told.inputs, told.outputs):
        if len({entry.name for entry in entries}) < len(entries):
            raise _unsound("a name comes twice")
    if told.batchable and not (told.inputs and all(entry.shape[:1] == [-1] for entry in told.inputs)):
        raise _unsound("it is said to take batches, and not every input has a free first dimension")


def _unsound(what: str) -> ModelRejected:
    return ModelRejected(f"the signature that the worker told is unsound: {what}"[:500], reason="signature_unsound")


def _signature(told: Signature) -> ModelSignature:
    inputs, outputs = tuple(e.spec() for e in told.inputs), tuple(e.spec() for e in told.outputs)
    return ModelSignature(inputs, outputs, told.batchable, 0)


def _gate_of(state: LoadingState) -> str:
    """The gate a loading was in when it failed."""
    return {LoadingState.LOADING: "load", LoadingState.VALIDATING: "warmup"}.get(state, "structure")


def _death(loading: Loading, death: Death) -> ModelRejected:
    """A worker that was never ready died: the version is refused for it."""
    sentence = f"the worker of version {loading.name} died by {how(death.code)} while it was {loading.state}"
    if death.cause == "stopped":
        return ModelRejected(f"{sentence}, because it was stopped (SIGSTOP)", reason="worker_stopped")
    if death.cause == "memory_limit":
        return ModelRejected(f"{sentence}, because it used more than runtime.memory_limit", reason="out_of_memory")
    if death.cause == "out_of_memory":
        return ModelRejected(f"{sentence}, because the machine ran out of memory", reason="out_of_memory")
    return ModelRejected(sentence, reason="worker_crashed")
