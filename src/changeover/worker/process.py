"""A worker's life: verify, load quietly, warm up, say ready, then run batches until it is stopped or killed."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import time
from pathlib import Path

import msgspec
import numpy as np
from setproctitle import setproctitle

from changeover.errors import ChangeoverError, Internal, ModelRejected
from changeover.lifecycle import artifacts, verify
from changeover.lifecycle.signature import ModelSignature, public
from changeover.runtime import faults, first, memory, quiet, session, warmup
from changeover.runtime.stateless import Stateless
from changeover.sequences.wire import ASK_BYTES, TOLD_BYTES
from changeover.tensors import TensorSpec
from changeover.transport import channel
from changeover.transport.channel import ChannelSize
from changeover.transport.child import introduce
from changeover.transport.control import (
    Channels,
    GateResult,
    Measured,
    Signature,
    TensorEntry,
    WorkerSpec,
    WorkerStatus,
    encode,
)
from changeover.transport.link import Frame, Kind, Link
from changeover.worker import broken
from changeover.worker.conversion import Converting
from changeover.worker.crew import Crew
from changeover.worker.moves import Moves
from changeover.worker.runner import ChannelClosed, Runner
from changeover.worker.step_runner import StepRunner
from changeover.worker.steps import Steps

_FREE_DIMENSION = 256
"""Elements taken for a free dimension when a slot is sized; what is larger travels in memory of its own."""
_PATIENCE = 0.25
"""Of the time after which a run counts as hung: so long a mirrored one may starve before it runs like any other."""
_MAX_RUNS = 16
_EXPIRY = 1.0
"""Seconds after which a worker that has nothing to do looks for idle sequences."""


def preload() -> None:
    """What the zygote does once for all its workers: the imports, and the first touch of lazy parts."""
    np.zeros(1)
    import onnx.checker
    import onnx.defs

    onnx.defs.has("Add")  # registers all schemas, 17 ms that no worker shall pay
    first.made()


def main(fd: int, parent: int) -> None:
    """Serve one loading."""
    link, welcome = introduce(fd, parent)
    spec = msgspec.convert(welcome.json()["spec"], WorkerSpec)
    setproctitle(f"changeover: worker {spec.model}/{spec.version}")
    os.chdir(spec.empty)  # onnxruntime resolves some paths against the working directory
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a terminal's signal is the supervisor's to hear
    loader = Loader(link, spec)
    try:
        loaded = loader.run()
    except ChangeoverError as error:
        status = WorkerStatus(spec.loading, "failed", reason=error.reason, detail=error.message, gates=loader.gates)
        _report(link, status)
        return
    except MemoryError:
        detail = "out of memory while loading; raise runtime.memory_limit"
        _report(link, WorkerStatus(spec.loading, "failed", reason="out_of_memory", detail=detail))
        return
    _Server(link, loaded, spec, loader.moves).run()


class Loader:
    """From a sealed file to a session that has proven itself; every state is reported before it is entered.

    Attributes:
        gates: what the gates said so far.
        moves: how the states of sequences come and go.
    """

    def __init__(self, link: Link, spec: WorkerSpec) -> None:
        self._link = link
        self._spec = spec
        self.gates: list[GateResult] = []
        self.moves: Moves | None = None
        self._declared: ModelSignature | None = None

    def run(self) -> session.Session:
        """Load and prove the model.

        Raises:
            ModelRejected: a gate refused it, or onnxruntime cannot load it.
            MemoryError: over the memory limit outside of onnxruntime.
        """
        if self._spec.hurry:  # clients wait for this replacement
            loaded, ready = self._load(None)
        else:
            how = quiet.method(self._spec.intra_op_threads)
            loaded, ready = quiet.run_quietly(lambda: self._load(how), how)
        _report(self._link, ready)  # not before it is a normal process: at idle priority its clients would wait
        return loaded

    def _load(self, how: quiet.Quiet | None) -> tuple[session.Session, WorkerStatus]:
        spec, started, pace = self._spec, time.perf_counter(), quiet.Pace(hurry=how is None)
        serving = memory.limit(spec)
        artifacts.verify_sealed(Path(spec.path).parents[2], spec.digest)  # a replacement too: disks change
        if spec.verify:
            _report(self._link, WorkerStatus(spec.loading, "verifying"))
            found = verify.verify(Path(spec.path).parent, custom_ops=bool(spec.session.custom_ops))
            self._declared = public(found, spec.sequence)
            self.gates.append(GateResult("structure", "passed", "the file is valid ONNX and all operators are known"))
        verify_s = time.perf_counter() - started
        _report(self._link, WorkerStatus(spec.loading, "loading"))
        pace.rest()
        verified = time.perf_counter()
        loaded = faults.load(spec)
        if spec.sequence is not None and isinstance(loaded.session, Stateless):
            self.moves = Converting(spec, spec.sequence, loaded.session)
        ctypes.CDLL(None).malloc_trim(0)  # the loader's garbage goes back before the worker serves
        load_s = time.perf_counter() - verified
        pace.rest()
        at_load = time.perf_counter()
        signature, run_ms = self._prove(loaded.session)
        ctypes.CDLL(None).malloc_trim(0)  # that of the first runs, too
        measured = Measured(
            quiet=how or "none",
            cache=loaded.cache,
            verify_s=round(verify_s, 4),
            load_s=round(load_s, 4),
            warmup_s=round(time.perf_counter() - at_load, 4),
            run_ms=round(run_ms, 4),
            rss_bytes=memory.resident(),
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            inherited_bytes=memory.inherited(),
            mapped_bytes=loaded.mapped,
        )
        memory.set_limit(serving)
        layout = loaded.session.layout if isinstance(loaded.session, Stateless) else None
        size = channels(signature, spec.max_batch, spec.instances, steps=layout is not None)
        slab = [layout.slots, layout.saved_bytes] if layout is not None else None
        ready = WorkerStatus(
            spec.loading, "ready", None, None, signature, size, measured, self.gates, layout, slab
        )  # fmt: skip
        return loaded.session, ready

    def _prove(self, loaded: session.Session) -> tuple[Signature, float]:
        """Warm up; what was proven before is taken over, and only touched here unless somebody waits for it."""
        spec = self._spec
        if spec.signature is not None:
            told = Signature(_entries(loaded.inputs), _entries(loaded.outputs), spec.signature.batchable)
            if told != spec.signature:
                raise ModelRejected("the session has other inputs or outputs than were proven", reason="load_failed")
            return told, 0.0 if spec.hurry else warmup.touch(loaded, told.batchable, spec.max_batch)
        _report(self._link, WorkerStatus(spec.loading, "validating"))
        batchable = self._declared is not None and self._declared.batchable and spec.max_batch > 1
        warm = warmup.warm_up(loaded, batchable=batchable, max_batch=spec.max_batch, finite=spec.warmup_finite)
        self.gates.append(warm.gate)
        inputs, outputs = _entries(loaded.inputs), _entries(loaded.outputs)
        return Signature(inputs, outputs, warm.batchable), warm.run_ms


class _Server:
    """The loop of a loaded worker: its link and one channel a gateway.

    One instance runs batches in this loop; several are threads, and the loop hands out what comes.
    """

    def __init__(self, link: Link, loaded: session.Session, spec: WorkerSpec, moves: Moves | None) -> None:
        instances = spec.instances
        self._moves = moves
        self._link = link
        self._session = loaded
        self._patience = spec.run_timeout * _PATIENCE
        self._slots = instances + channel.SPARE_SLOTS
        self._crew = Crew(instances, self._strike) if instances > 1 else None
        self._epoll = select.epoll()
        self._epoll.register(link.fileno(), select.EPOLLIN)
        self._runners: dict[int, Runner] = {}
        self._stopping = False
        self._finite, self._faults = spec.warmup_finite, spec.faults
        self._steps: Steps | None = None

    def run(self) -> None:
        """Until the supervisor says stop; batches that are in the slots by then are still answered."""
        while not self._stopping:
            for fd, _ in self._epoll.poll(None if self._steps is None else _EXPIRY):
                if fd == self._link.fileno():
                    self._on_link()
                else:
                    self._serve(fd)
            if self._steps is not None:
                self._steps.records.expire()
        for fd in list(self._runners):
            self._serve(fd)
        if self._crew is not None:
            self._crew.finish()

    def _on_link(self) -> None:
        while (message := self._link.receive()) is not None:
            if message.kind is Kind.STOP:
                self._stopping = True
            elif message.kind is Kind.SLAB:
                self._steps = self._open_slab(*message.fds)
            elif message.kind is Kind.CHANNEL:
                slots, doorbell = message.fds
                size = ChannelSize(*message.json()["size"])
                memory.make_room(size.total)
                runner = self._runner(socket.socket(fileno=doorbell), slots, size)
                runner.patience = self._patience
                self._runners[doorbell] = runner
                self._epoll.register(doorbell, select.EPOLLIN)

    def _runner(self, doorbell: socket.socket, slots: int, size: ChannelSize) -> Runner:
        if self._steps is None or not isinstance(self._session, Stateless):
            return Runner(self._session, doorbell, slots, size)
        return StepRunner(self._session, doorbell, slots, size, self._steps)

    def _open_slab(self, fd: int) -> Steps | None:
        """Take over the sequences of the loading, as the last worker left them."""
        session = self._session
        if not isinstance(session, Stateless):
            return None
        memory.make_room(session.layout.geometry.total)
        records = broken.records(fd, session.layout, self._faults, self._moves)
        os.close(fd)
        return Steps(session, records, finite=self._finite)

    def _serve(self, fd: int) -> None:
        """All that waits on one channel, but never past a slot's worth: others and the link come next."""
        runner = self._runners[fd]
        try:
            for _ in range(self._slots):
                if not self._serve_one(runner):
                    return
        except (ChannelClosed, Internal):
            self._epoll.unregister(fd)
            self._runners.pop(fd).let_go()

    def _serve_one(self, runner: Runner) -> bool:
        if self._crew is None:
            served = runner.serve_one()
            if len(self._runners) > 1:
                self._strike()
            return served
        task = runner.receive()
        if task is not None:
            self._crew.give(runner, task)
        return task is not None

    def _strike(self) -> None:
        """Each gateway sees that the worker is not stuck, also while another's batches are run."""
        for runner in list(self._runners.values()):
            runner.strike()


def channels(signature: Signature, max_batch: int, instances: int = 1, *, steps: bool = False) -> Channels:
    """Slot sizes for a model: the largest batch, or up to 16 single runs; with room for records of steps."""
    times = max_batch if signature.batchable else _MAX_RUNS
    inputs = sum(channel.aligned(_bytes(e.spec(), signature.batchable, times)) for e in signature.inputs)
    outputs = sum(channel.aligned(_bytes(e.spec(), signature.batchable, times)) for e in signature.outputs)
    if steps:
        inputs += channel.aligned((times + 1) * ASK_BYTES)
        outputs += channel.aligned((times + 1) * TOLD_BYTES)
    size = channel.channel_size(instances + channel.SPARE_SLOTS, inputs, outputs)
    return Channels(size.slots, size.input_bytes, size.output_bytes)


def _bytes(spec: TensorSpec, batchable: bool, times: int) -> int:
    """Bytes of `times` rows (batchable) or runs of a tensor; 64 bytes are reckoned for a BYTES element."""
    count = 1
    for dimension in spec.shape[1 if batchable else 0 :]:
        count *= _FREE_DIMENSION if dimension < 0 else dimension
    one = count * (spec.datatype.itemsize or 64)
    return times * one if batchable else times * channel.aligned(one)


def _entries(specs: list[TensorSpec]) -> list[TensorEntry]:
    return [TensorEntry(s.name, s.datatype.name, list(s.shape)) for s in specs]


def _report(link: Link, status: WorkerStatus) -> None:
    link.send(Frame(Kind.STATUS, encode(status)))
