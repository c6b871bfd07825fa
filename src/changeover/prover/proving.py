"""One candidate through all gates, in order; the first that fails ends it, and what the others said stays on record.

integrity → structure → load → warmup → resources → accuracy → state → performance
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from changeover.errors import ModelError, ModelRejected
from changeover.lifecycle import artifacts, verify
from changeover.lifecycle.signature import ModelSignature, public, require_compatible
from changeover.prover import golden, recited, sequences
from changeover.prover.gates.accuracy import Accuracy, needs_active, unshown
from changeover.prover.gates.agreement import COMPARABLE, LEAST_REQUESTS, MOST_SECONDS, Agreement
from changeover.prover.gates.performance import performance
from changeover.prover.gates.resources import resources
from changeover.prover.recent import gather
from changeover.prover.subject import Subject, bounded
from changeover.prover.verdict import failed
from changeover.rollout.plan_gates import AccuracyGate, GatesPlan
from changeover.runtime import faults, machine, memory, quiet, warmup
from changeover.tensors import TensorSpec
from changeover.transport.control import GateResult, Measured, Signature, TensorEntry, WorkerSpec
from changeover.transport.proving import ProverSpec, ProverStatus, Reference

Report = Callable[[ProverStatus], None]
_QUIET: Final = 1.0
"""Seconds between two signs of life."""
_BESIDE: Final = 1.25
"""What another session is reckoned to take, as a multiple of what its worker holds."""
_NO_ROOM: Final = "there is no room for a second session of the active version"


class Refused(Exception):
    """A gate failed; its result is on record."""


class Proving:
    """The proof of one candidate.

    Args:
        spec: what is to be proven, and how.
        report: takes each step to the controller.
        fences: what the sandbox holds, for the record.
        sample: memory with recent requests of the model.
    """

    def __init__(self, spec: ProverSpec, report: Report, fences: list[str], sample: int | None = None) -> None:
        self._spec = spec
        self._worker = _single(spec.worker)
        self._plan = msgspec.convert(spec.gates, GatesPlan)
        self._report = report
        self._fences = fences
        self._sample = sample
        self._gates: list[GateResult] = []
        self._gate = "integrity"
        self._state = "verifying"
        self._told = 0.0
        self._began = time.perf_counter()
        self._pace = quiet.Pace()
        self._room = machine.memory()
        self._before = memory.Marks.now()
        self._measured = Measured()
        self._declared: ModelSignature
        self._candidate: Subject
        self._active: Subject | None = None

    def run(self) -> None:
        """Through all gates; the last report says how it ended."""
        steps: tuple[tuple[str, str, Callable[[], GateResult | None]], ...] = (
            ("integrity", "verifying", self._integrity),
            ("structure", "verifying", self._structure),
            ("load", "loading", self._load),
            ("warmup", "validating", self._warm_up),
            ("resources", "validating", self._resources),
            ("accuracy", "validating", self._accuracy),
            ("state", "validating", self._sequences),
            ("performance", "validating", self._performance),
        )
        try:
            for gate, state, step in steps:
                self._go_through(gate, state, step)
        except Refused:
            last = self._gates[-1]
            self._end("failed", str(last.evidence["reason"]), last.detail)
            return
        whole = time.perf_counter() - self._began
        loading = self._measured.verify_s + self._measured.load_s + self._measured.warmup_s
        self._measured = msgspec.structs.replace(self._measured, gates_s=round(whole - loading, 4))
        self._end("ready")

    def _go_through(self, gate: str, state: str, step: Callable[[], GateResult | None]) -> None:
        self._gate, self._state = gate, state
        self._pace.rest()
        self._say()
        try:
            result = step()
        except ModelError as error:
            result = failed(gate, error.reason, error.message)
        except MemoryError:
            result = failed(gate, "out_of_memory", "out of memory; raise runtime.memory_limit")
        if result is not None:
            self._gates.append(result)
            if result.result == "failed":
                raise Refused

    # -- the gates -----------------------------------------------------------------------------------------

    def _integrity(self) -> GateResult:
        """Every byte has the digest it was sealed under."""
        began = time.perf_counter()
        artifact = artifacts.verify_sealed(Path(self._worker.path).parents[2], self._worker.digest)
        self._note(verify_s=began)
        size = artifact.manifest.size
        evidence = {"digest": artifact.digest, "bytes": size, "files": len(artifact.manifest.files)}
        return GateResult("integrity", "passed", "every byte has the digest it was sealed under", evidence)

    def _structure(self) -> GateResult:
        began, worker, reference = time.perf_counter(), self._worker, self._spec.reference
        found = verify.verify(Path(worker.path).parent, custom_ops=bool(worker.session.custom_ops))
        self._declared = public(found, worker.sequence)
        if reference is not None:
            require_compatible(_signature(reference), self._declared)
        self._note(verify_s=began)
        compared = "; clients of the active version can use it" if reference is not None else ""
        evidence = {
            "opset": self._declared.opset, "producer": self._declared.producer[:200], "sandbox": self._fences
        }  # fmt: skip
        detail = f"the file is valid ONNX and all operators are known{compared}"
        return GateResult("structure", "passed", detail, evidence)

    def _load(self) -> None:
        began = time.perf_counter()
        unlimited = memory.limit_for_proof(self._worker, self._room.free)
        loaded = faults.load(self._worker)
        memory.set_limit(unlimited)
        ctypes.CDLL(None).malloc_trim(0)
        self._note(load_s=began)
        self._measured = msgspec.structs.replace(self._measured, cache=loaded.cache)
        self._candidate = Subject(loaded.session, False, self._worker.max_batch, self._spec.run_timeout)

    def _warm_up(self) -> GateResult:
        began = time.perf_counter()
        batchable = self._declared.batchable and self._worker.max_batch > 1
        subject = self._candidate
        unlimited = memory.limit_for_proof(self._worker, self._room.free)
        with bounded(self._spec.run_timeout * warmup.most_runs(subject.max_batch)):
            warm = warmup.warm_up(
                subject.session, batchable=batchable, max_batch=subject.max_batch, finite=self._plan.warmup.finite,
                alive=self._alive,
            )  # fmt: skip
        memory.set_limit(unlimited)
        self._note(warmup_s=began)
        self._candidate = Subject(subject.session, warm.batchable, subject.max_batch, subject.run_timeout)
        peak = memory.Marks.now().private_peak_since(self._before)
        self._measured = msgspec.structs.replace(self._measured, peak_bytes=peak, run_ms=round(warm.run_ms, 4))
        return warm.gate

    def _resources(self) -> GateResult:
        rule, peak = self._plan.resources, self._measured.peak_bytes
        limit = self._worker.memory_limit
        if not rule.enabled:
            return _switched_off("resources")
        if limit and peak > limit:
            detail = f"the candidate took {peak >> 20} MiB, over its limit of {limit >> 20} MiB (runtime.memory_limit)"
            return failed("resources", "out_of_memory", detail, {"candidate_bytes": peak, "memory_limit": limit})
        return resources(rule, self._spec.held_bytes, peak, self._room)

    def _accuracy(self) -> GateResult:
        rule = self._plan.accuracy
        if not rule.enabled:
            return _switched_off("accuracy")
        if self._worker.sequence is not None:
            return recited.accuracy(rule, self._spec.golden, self._candidate, self._alive)
        folder = golden.find(self._spec.golden)
        if folder is None:
            return self._without_golden_set(rule)
        subject = self._candidate
        samples = golden.load(folder, subject.session.inputs, subject.session.outputs)
        needed = needs_active(rule, samples)
        try:
            beside = self._beside() if needed else None
        except ModelRejected as error:
            return unshown(rule, f"the active version cannot be loaded: {error.message}")
        if rule.metric == "agreement" and needed and beside is None and self._spec.reference is not None:
            return unshown(rule, _NO_ROOM)
        return Accuracy(rule, samples, self._alive).gate(subject, beside)

    def _without_golden_set(self, rule: AccuracyGate) -> GateResult:
        """On recent requests, beside the active version; a minimum that cannot be shown refuses the version."""
        comparable, minimum = rule.metric in COMPARABLE, rule.min is not None
        found: GateResult | str = "requests of a private model are not kept"
        if not comparable or (minimum and rule.metric is None):
            found = "nothing else says what is right"
        elif self._spec.reference is None:
            found, minimum = "no version serves whose answers could be compared", False
        elif not self._spec.private:
            found = self._on_recent(rule)
        if isinstance(found, GateResult):
            return found
        why = f"there is no golden set beside the version or the model, and {found}"
        if minimum:
            return failed("accuracy", "golden_missing", f"the plan has a minimum; {why}")
        return GateResult("accuracy", "skipped", why)

    def _on_recent(self, rule: AccuracyGate) -> GateResult | str:
        """What the gate says of recent requests, or why it says nothing."""
        try:
            beside = self._beside()
        except ModelRejected as error:
            return f"the active version cannot be loaded: {error.message}"
        if beside is None:
            return _NO_ROOM
        recent = gather(self._sample, batchable=beside.batchable, alive=self._alive)
        gate = Agreement(rule, self._spec.disagreement, self._alive).gate(recent, self._candidate, beside)
        if gate is not None:
            return gate
        why = f"{recent}: it takes {LEAST_REQUESTS} that are answered in {MOST_SECONDS:.0f} s"
        return failed("accuracy", "sample_late", why) if recent.late and rule.min is not None else why

    def _sequences(self) -> GateResult | None:
        return sequences.state(self._spec, self._worker, self._candidate, self._beside, self._alive)

    def _performance(self) -> GateResult:
        rule = self._plan.performance
        if not rule.enabled:
            return _switched_off("performance")
        if self._spec.reference is None:
            return GateResult("performance", "skipped", "no version serves that it could be compared with")
        try:
            beside = self._beside()
        except ModelRejected as error:
            return GateResult("performance", "skipped", f"the active version cannot be loaded: {error.message}")
        if beside is None:
            return GateResult("performance", "skipped", _NO_ROOM)
        return performance(rule, self._candidate, beside, self._worker.providers, self._alive)

    # -- parts ---------------------------------------------------------------------------------------------

    def _beside(self) -> Subject | None:
        """The active version in a session of this process, None where there is none or no room for it."""
        reference = self._spec.reference
        if reference is None:
            return None
        if self._active is None:
            if reference.held_bytes * _BESIDE > machine.memory().free:
                return None
            spec, batchable = _single(reference.spec), reference.signature.batchable
            self._pace.rest()
            loaded = faults.load(spec).session
            self._active = Subject(loaded, batchable, spec.max_batch, self._spec.run_timeout)
        return self._active

    def _note(self, **began: float) -> None:
        """Add what has passed since then to a measure."""
        for name, start in began.items():
            passed = getattr(self._measured, name) + time.perf_counter() - start
            self._measured = msgspec.structs.replace(self._measured, **{name: round(passed, 4)})

    def _alive(self) -> None:
        self._pace.rest()
        if time.monotonic() - self._told > _QUIET:
            self._say()

    def _say(self) -> None:
        self._told = time.monotonic()
        self._report(ProverStatus(self._worker.loading, self._gate, self._state, list(self._gates)))

    def _end(self, state: str, reason: str | None = None, detail: str | None = None) -> None:
        signature = None
        if state == "ready":
            inputs, outputs = self._candidate.session.inputs, self._candidate.session.outputs
            signature = Signature(_entries(inputs), _entries(outputs), self._candidate.batchable)
        self._report(
            ProverStatus(
                self._worker.loading, self._gate, state, self._gates, reason, detail, signature, self._measured
            )
        )


def _single(spec: WorkerSpec) -> WorkerSpec:
    """The same version on one thread: what is measured is work, and nobody's cores are taken."""
    return msgspec.structs.replace(spec, intra_op_threads=1, instances=1)


def _signature(reference: Reference) -> ModelSignature:
    told = reference.signature
    inputs, outputs = tuple(e.spec() for e in told.inputs), tuple(e.spec() for e in told.outputs)
    return ModelSignature(inputs, outputs, told.batchable, 0)


def _entries(specs: list[TensorSpec]) -> list[TensorEntry]:
    return [TensorEntry(s.name, s.datatype.name, list(s.shape)) for s in specs]


def _switched_off(gate: str) -> GateResult:
    return GateResult(gate, "skipped", f"gates.{gate}.enabled is false")
