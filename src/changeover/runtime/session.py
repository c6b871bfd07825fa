"""ONNX Runtime, and the only file that knows it: load a model, run it, tell its signature.

Foreign exceptions stop here. onnxruntime 1.31 sends telemetry and starts a thread at import unless
`ORT_DISABLE_TELEMETRY=1` is set, which the supervisor does for all processes; this file insists on it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: a started thread would also break fork

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _c

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.runtime import cache, custom_ops, weights
from changeover.runtime.cache import CacheEntry
from changeover.runtime.custom_ops import Library
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.control import WorkerSpec
from changeover.transport.session_options import GROWTH, ArenaOptions

Array = npt.NDArray[Any]
_LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_MODES = {"sequential": ort.ExecutionMode.ORT_SEQUENTIAL, "parallel": ort.ExecutionMode.ORT_PARALLEL}
_CPU = "CPUExecutionProvider"
_WEIGHTS = "session.optimized_model_external_initializers_"
_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16
_FATAL = 4
_MEMORY_WORDS = (
    "bad_alloc", "Failed to allocate memory", "bad allocation", "Cannot allocate memory", "Available memory of"
)  # fmt: skip
_STRATEGIES = ("kNextPowerOfTwo", "kSameAsRequested")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` did.

    Attributes:
        cache: whether the optimised graph came from there: hit, miss, off.
        mapped: bytes of weights that it has in common with all sessions that have them.
    """

    session: Session
    cache: str
    mapped: int = 0


def load(spec: WorkerSpec) -> Loaded:
    """Load a sealed model, from the optimised-graph cache where it can.

    Raises:
        ModelRejected: onnxruntime refuses the model (`load_failed`), memory ran out (`out_of_memory`), or it wants a
            library that it may not have (`custom_op_not_allowed`).
    """
    own = custom_ops.allowed(spec)
    if spec.optimization == "off":
        return Loaded(_opened(spec.path, _options(spec, "off", own), spec), "off")
    runtime = (ort.__version__, ort.get_build_info())
    entry = cache.entry(
        spec.cache, spec.digest, *runtime, ",".join(spec.providers), spec.optimization, *_more(spec, own)
    )
    folder = Path(spec.weights or spec.cache)
    graph = entry.read()
    mapped = weights.ready(graph, Path(spec.cache), folder) if graph is not None else None
    if graph is not None and mapped is not None:
        try:
            return Loaded(_opened(graph, _mapping(spec, own, folder), spec), "hit", mapped)
        except ModelRejected:
            pass  # onnxruntime does not take back every graph that it wrote: the source counts
    return _first(spec, own, entry)


def _first(spec: WorkerSpec, own: list[Library], entry: CacheEntry) -> Loaded:
    """Load the model's own file, and leave the optimised graph in the cache."""
    options = _options(spec, spec.optimization, own)
    options.optimized_model_filepath = str(entry.fresh)
    options.add_session_config_entry(f"{_WEIGHTS}file_name", entry.fresh_weights.name)
    options.add_session_config_entry(f"{_WEIGHTS}min_size_in_bytes", str(weights.LEAST))
    if spec.providers == (_CPU,):
        options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
    try:
        session = _opened(spec.path, options, spec)
    except ModelRejected:
        entry.discard()  # the graph may be too large to write (over 2 GiB), or the disk full
        return Loaded(_opened(spec.path, _options(spec, spec.optimization, own), spec), "off")
    try:
        weights.part(entry.fresh, entry.fresh_weights)
    except (OSError, ValueError, LookupError):
        entry.discard()
    else:
        entry.publish()
    return Loaded(session, "miss")


def _mapping(spec: WorkerSpec, own: list[Library], folder: Path) -> ort.SessionOptions:
    """Options for a graph of the cache, whose weights lie in a folder."""
    options = _options(spec, "off", own)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return options


def open_level(path: str, level: str, *, threads: int = 1, written: str | None = None) -> Session:
    """A model file at a level of optimisation, on the processor, past any cache.

    Args:
        path: of the file.
        level: `off`, `basic`, `extended`, `all`.
        threads: of a run.
        written: where the graph as it runs is written.

    Raises:
        ModelRejected: onnxruntime refuses the model (`load_failed`), or memory ran out (`out_of_memory`).
    """
    spec = WorkerSpec(0, "", "", digest="", path=path, cache="", empty="", intra_op_threads=threads)
    options = _options(spec, level)
    if written is not None:
        options.optimized_model_filepath = written
    return _opened(path, options, spec)


def _more(spec: WorkerSpec, own: list[Library]) -> tuple[str, ...]:
    """Of what else an optimised graph depends on; nothing where the options are the defaults."""
    return (spec.session.key, *(library.digest for library in own)) if spec.session.key else ()


def _options(spec: WorkerSpec, level: str, own: Sequence[Library] = ()) -> ort.SessionOptions:
    options, given = ort.SessionOptions(), spec.session
    options.graph_optimization_level = _LEVELS[level]
    options.intra_op_num_threads = spec.intra_op_threads
    options.inter_op_num_threads = given.inter_op_threads
    options.log_severity_level = _FATAL
    options.enable_cpu_mem_arena = given.arena
    options.enable_mem_pattern = given.memory_pattern
    options.enable_mem_reuse = given.memory_reuse
    options.execution_mode = _MODES[given.execution]
    options.use_deterministic_compute = given.deterministic
    for name, size in given.free_dimensions.items():
        options.add_free_dimension_override_by_name(name, size)
    for name, value in (*_entries(spec).items(), *given.config.items()):
        options.add_session_config_entry(name, value)
    if given.arena_options != GROWTH:
        _grow(options, given.arena_options)
    for library in own:
        _register(options, library)
    return options


def _grow(options: ort.SessionOptions, wanted: ArenaOptions) -> None:
    """An arena that grows as it is told: a session takes the allocator that was registered last, and keeps it."""
    told = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
    told["arena_extend_strategy"] = _STRATEGIES.index(wanted.arena_extend_strategy)
    memory = _c.OrtMemoryInfo("Cpu", _c.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, _c.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(told))
    options.add_session_config_entry("session.use_env_allocators", "1")


def _register(options: ort.SessionOptions, library: Library) -> None:
    try:
        options.register_custom_ops_library(library.path)
    except Exception as error:  # noqa: BLE001 - onnxruntime raises a dozen classes with no common one
        message = f"the custom-op library {library.path} cannot be loaded: {str(error).strip()}"
        raise ModelRejected(message, reason="load_failed") from None


def _entries(spec: WorkerSpec) -> dict[str, str]:
    """Config entries that have options of their own. A prover runs on one thread, which nobody pins."""
    given = spec.session
    entries = {
        "session.intra_op.allow_spinning": str(int(given.spinning)),
        "session.inter_op.allow_spinning": str(int(given.spinning)),
        "session.disable_prepacking": str(int(not given.prepacking)),
        "session.set_denormal_as_zero": str(int(given.denormal_as_zero)),
        "session.load_model_format": "ONNX",
    }
    if given.affinities and spec.intra_op_threads > 1:
        entries["session.intra_op_thread_affinities"] = given.affinities
    return entries


def _run_options(spec: WorkerSpec) -> ort.RunOptions | None:
    """Of every run; None for the defaults."""
    if not spec.session.run_config:
        return None
    options = ort.RunOptions()
    for name, value in spec.session.run_config.items():
        options.add_run_config_entry(name, value)
    return options


def _opened(model: str | bytes, options: ort.SessionOptions, spec: WorkerSpec) -> Session:
    """A session of a model's file, or of its bytes."""
    return Session(_open(model, options, spec), _run_options(spec))


def _open(model: str | bytes, options: ort.SessionOptions, spec: WorkerSpec) -> ort.InferenceSession:
    chosen = [(name, dict(spec.session.provider_options.get(name, {}))) for name in spec.providers]
    try:
        return ort.InferenceSession(model, options, providers=chosen)
    except MemoryError:
        raise ModelRejected("out of memory while loading; raise runtime.memory_limit", reason="out_of_memory") from None
    except Exception as error:  # noqa: BLE001 - onnxruntime raises a dozen classes with no common one
        message = str(error).strip() or type(error).__name__
        if any(word in message for word in _MEMORY_WORDS):
            raise ModelRejected(f"out of memory while loading: {message}", reason="out_of_memory") from None
        raise ModelRejected(f"onnxruntime cannot load the model: {message}", reason="load_failed") from None


class Session:
    """A loaded model. `run` takes and gives arrays in the order of the signature.

    BF16 travels as uint16 (numpy has no bfloat16), BYTES as object arrays of `str`.

    Args:
        options: of every run.
    """

    def __init__(self, session: ort.InferenceSession, options: ort.RunOptions | None = None) -> None:
        self._session = session
        self._options = options
        self._run = session._sess.run  # noqa: SLF001 - the public `run` checks names again on each call, 3 µs
        self.inputs = [_spec(arg) for arg in session.get_inputs()]
        self.outputs = [_spec(arg) for arg in session.get_outputs()]
        self._input_names = [s.name for s in self.inputs]
        self._output_names = [s.name for s in self.outputs]
        self._bf16 = any(s.datatype is Datatype.BF16 for s in self.inputs + self.outputs)

    def run(self, arrays: list[Array]) -> list[Array]:
        """One execution.

        Raises:
            ModelRunFailed: an operator failed (`run_failed`), or memory ran out (`out_of_memory`).
        """
        feeds = dict(zip(self._input_names, arrays, strict=True))
        return self.run_feeds(feeds)

    def run_feeds(self, feeds: dict[str, Array]) -> list[Array]:
        """The same with arrays by input name."""
        try:
            if self._bf16:
                return self._run_values(feeds)
            outputs: list[Array] = self._run(self._output_names, feeds, self._options)
        except Exception as error:  # noqa: BLE001 - onnxruntime raises a dozen classes with no common one
            message = str(error).strip() or type(error).__name__
            memory = isinstance(error, MemoryError) or any(word in message for word in _MEMORY_WORDS)
            raise ModelRunFailed(message, reason="out_of_memory" if memory else "run_failed") from None
        return outputs

    def _run_values(self, feeds: dict[str, Array]) -> list[Array]:
        """Through OrtValues, which know BF16."""
        values = {}
        for spec in self.inputs:
            array = feeds[spec.name]
            if spec.datatype is Datatype.BF16:
                values[spec.name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
            else:
                values[spec.name] = ort.OrtValue.ortvalue_from_numpy(array)
        results = self._session.run_with_ort_values(self._output_names, values, self._options)
        return [_array(value, spec) for value, spec in zip(results, self.outputs, strict=True)]


def _array(value: ort.OrtValue, spec: TensorSpec) -> Array:
    """An output as an array; BF16 is copied out as raw 16 bits."""
    if spec.datatype is not Datatype.BF16:
        array: Array = value.numpy()
        return array
    shape = value.shape()
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, np.uint16)
    raw = ctypes.string_at(value.data_ptr(), 2 * count)
    return np.frombuffer(raw, np.uint16).reshape(shape)


def _spec(arg: Any) -> TensorSpec:
    """A node argument as a TensorSpec; unnamed and named free dimensions become -1."""
    try:
        datatype = Datatype.from_onnx(arg.type)
    except ValueError as error:
        raise ModelRejected(f"{arg.name}: {error}", reason="io_unsupported") from None
    shape = tuple(d if isinstance(d, int) and d >= 0 else -1 for d in (arg.shape or []))
    return TensorSpec(arg.name, datatype, shape)
