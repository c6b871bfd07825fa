"""The typed messages between controller, gateways and workers, and the routing table they speak of.

All are msgspec Structs in JSON. Those that the supervisor itself reads (link.Kind below 20) are plain values to it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from changeover.sequences.declared import Declared, Layout
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.session_options import DEFAULTS, SessionOptions

BUCKETS = 10_000


class TensorEntry(msgspec.Struct, frozen=True):
    """A model's input or output: OIP datatype name, declared shape with -1 for any length."""

    name: str
    datatype: str
    shape: list[int]

    def spec(self) -> TensorSpec:
        """The same as the value the data plane works with."""
        return TensorSpec(self.name, Datatype[self.datatype], tuple(self.shape))


class Signature(msgspec.Struct, frozen=True):
    """Inputs and outputs of a model. `batchable`: the first dimension of all of them is free."""

    inputs: list[TensorEntry]
    outputs: list[TensorEntry]
    batchable: bool


class Channels(msgspec.Struct, frozen=True):
    """Size of each gateway's channel to a worker, in slots and bytes."""

    slots: int
    input_bytes: int
    output_bytes: int


class LoadingEntry(msgspec.Struct, frozen=True):
    """A loading as the routing table names it.

    Attributes:
        max_batch: rows that go together; run_timeout: seconds after which a run counts as hung.
        queue_limit, max_queue_delay: the model's own limits; None leaves the server's.
        private: no request is kept while a table names it; labels: paths of label files by output.
        config: what the version's `config.pbtxt` says, as Triton's JSON; None without one.
        sequence: of a sequence model, whose `signature` is without its states and control inputs; None of any other.
    """

    loading: int
    version: str
    digest: str
    signature: Signature
    max_batch: int
    run_timeout: float
    queue_limit: int | None = None
    max_queue_delay: float | None = None
    private: bool = False
    labels: dict[str, str] = {}
    config: dict[str, Any] | None = None
    sequence: Layout | None = None


class RoutingTable(msgspec.Struct, frozen=True):
    """Where a model's requests go while `epoch` is in force.

    Attributes:
        word: index of the model's word in the route page.
        buckets: runs of (count, loading) that sum to 10,000; none where no version serves (the model is unloaded).
        loadings: every loading the table names in any way; a loading not named here may be drained.
        draining: named by a table before and not released yet; a gateway that joins has to know where sequences live.
        active, standby, candidate: loading numbers, an active 0 where no version serves. The candidate's buckets are
            the first ones, contiguous, so that a ramp only adds; a holdback on the old version has the last ones.
        shield: a routed request that the candidate fails is replayed on the active version.
        finite: an answer with NaN or an infinity is a failure: of the candidate where its requests are shielded, of any
            version where none is.
        mirror: of 10,000 routed requests to the active version, how many are copied to the candidate; 0 for none. With
            a standby instead of a candidate: of those held back on it, how many are copied to the active version.
        step: of the plan, such as `shadow` or `25%`; empty outside of a rollout.
    """

    model: str
    word: int
    epoch: int
    buckets: list[tuple[int, int]]
    loadings: list[LoadingEntry]
    active: int
    standby: int | None = None
    candidate: int | None = None
    shield: bool = False
    finite: bool = False
    mirror: int = 0
    step: str = ""
    draining: list[LoadingEntry] = []


FaultKind = Literal["slow", "error", "nan", "labels", "leak", "crash", "hang"]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the runs of a version go wrong, on purpose, in a rehearsal.

    Attributes:
        kind: slow: a run takes `factor` times its processor time, and at least `seconds` more; error: it raises; nan:
            its floating-point outputs are NaN; labels: its outputs are moved along by one class; leak: it keeps `bytes`
            for ever; crash: the worker dies by SIGSEGV; hang: the run never ends. Of a sequence model, without the
            other fields: torn: steps are written over one another; deaf: what is released goes on.
        after: runs of the worker (warm-up and gates included) that are well before.
        rate: share of the later runs that go wrong.
        when: path of a file; without it no run goes wrong. Empty: always.
    """

    kind: FaultKind | Literal["torn", "deaf"]
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    factor: Annotated[float, msgspec.Meta(gt=1)] = 3.0
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    bytes: Annotated[int, msgspec.Meta(ge=1)] = 1 << 20
    when: str = ""


class WorkerSpec(msgspec.Struct, frozen=True):
    """All a worker needs to load one version.

    Attributes:
        path: the sealed ONNX file; empty: an empty folder to run in; custom_ops: a folder of libraries, "" for none.
        cache: the optimised-model cache folder; weights: the folder to map weights from, "" for the cache itself.
        verify: run the structure checks first; signature: what a prover or earlier worker of this loading has proven.
        hurry: clients wait for this replacement, so nothing is quiet and nothing is tried out (the supervisor says so).
        memory_limit: bytes above what the process has at start, 0 for none: of address space while it loads, twice
            as much while it serves; there the supervisor holds what is in use to the limit.
        faults: none but in rehearsals; session: options of ONNX Runtime's session and of its runs.
        instances: runner threads; run_timeout: seconds until a run counts as hung; sequence: declared by the plan.
    """

    loading: int
    model: str
    version: str
    digest: str
    path: str
    cache: str
    empty: str
    verify: bool = True
    optimization: str = "all"
    instances: int = 1
    intra_op_threads: int = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    max_batch: int = 32
    memory_limit: int = 0
    warmup_finite: bool = True
    signature: Signature | None = None
    hurry: bool = False
    faults: tuple[Fault, ...] = ()
    run_timeout: float = 30.0
    sequence: Declared | None = None
    session: SessionOptions = DEFAULTS
    custom_ops: str = ""
    weights: str = ""


class Measured(msgspec.Struct, frozen=True):
    """What a worker measured while it loaded: seconds and bytes.

    Attributes:
        verify_s, load_s, cache, warmup_s: of the prover, which is the first to load a version; gates_s: all others'.
        open_s: the worker's own load, of what the prover has put into the cache.
        inherited_bytes: anonymous memory of the zygote that it has not written to; mapped_bytes: weights in files.
    """

    quiet: str = "none"
    cache: str = "off"
    verify_s: float = 0.0
    load_s: float = 0.0
    warmup_s: float = 0.0
    gates_s: float = 0.0
    open_s: float = 0.0
    run_ms: float = 0.0
    rss_bytes: int = 0
    peak_bytes: int = 0
    inherited_bytes: int = 0
    mapped_bytes: int = 0


class GateResult(msgspec.Struct, frozen=True):
    """One gate: `result` is passed, failed or skipped."""

    gate: str
    result: str
    detail: str
    evidence: dict[str, Any] = {}


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker's report; `state` is one of the loading states up to ready, or failed.

    With `ready`: the signature it really has, the channel size it wants, its measures, and of a sequence model the
    layout of its states and the slots and bytes of the slab that it needs.
    With `failed`: reason and detail; the worker exits after it.
    """

    loading: int
    state: str
    reason: str | None = None
    detail: str | None = None
    signature: Signature | None = None
    channels: Channels | None = None
    measured: Measured = Measured()
    gates: list[GateResult] = []
    sequence: Layout | None = None
    slab: list[int] | None = None


class WorkerHealth(msgspec.Struct, frozen=True):
    """Supervisor to controller, and to gateways when it opens: the circuit of a loading.

    Attributes:
        circuit: closed; open: the workers died again and again, so nobody waits for the next; half_open: it is tried.
        deaths: in a row, each soon after the worker was ready.
        cause, code: of the last death, None and 0 before the first; a negative code is a signal.
        wait: seconds until the next worker is tried, when this was sent.
    """

    loading: int
    circuit: str = "closed"
    deaths: int = 0
    cause: str | None = None
    code: int = 0
    wait: float = 0.0


class Spawn(msgspec.Struct, frozen=True):
    """Controller to supervisor: keep one worker for this loading."""

    loading: int
    spec: WorkerSpec


class Retire(msgspec.Struct, frozen=True):
    """Controller to supervisor: no worker for this loading any more; SIGKILL after `grace` seconds."""

    loading: int
    grace: float = 5.0


class Prepare(msgspec.Struct, frozen=True):
    """Controller to gateways: load these epochs of a word from the store, open their channels, acknowledge."""

    word: int
    epochs: list[int]


class Prepared(msgspec.Struct, frozen=True):
    """Gateway to controller: these epochs can be picked from. `error` tells why not."""

    word: int
    epochs: list[int]
    error: str | None = None


class Committed(msgspec.Struct, frozen=True):
    """Controller to gateways, after the store: this epoch is in force."""

    word: int
    epoch: int


class Acknowledged(msgspec.Struct, frozen=True):
    """Gateway to controller, from its event loop: no pick from an older table is under way.

    Attributes:
        leases: leases by loading of this model that are still held.
        seen_ns: CLOCK_MONOTONIC when the gateway acknowledged.
        last_old_pick_ns: when the last pick from an older table began, 0 when there was none.
    """

    word: int
    epoch: int
    leases: dict[int, int]
    seen_ns: int
    last_old_pick_ns: int


class Leases(msgspec.Struct, frozen=True):
    """Gateway to controller: a loading that no table in force names has no lease here any more."""

    word: int
    loading: int


def encode(value: msgspec.Struct) -> bytes:
    """A message or table as JSON."""
    return msgspec.json.encode(value)
