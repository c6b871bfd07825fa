"""The warmup gate: first runs at every batch size in use, on generated inputs; what comes out is looked at.

It also proves that rows do not influence one another: only then may requests of different clients share a batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.runtime.session import Array, Session
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.control import GateResult

_SEED = 20
_FLOATS = (Datatype.FP16, Datatype.FP32, Datatype.FP64)
_PIXELS = (Datatype.UINT8, Datatype.INT8)
_INTEGERS = (
    *_PIXELS, Datatype.UINT16, Datatype.UINT32, Datatype.UINT64, Datatype.INT16, Datatype.INT32, Datatype.INT64
)  # fmt: skip
_ASSUMED = 8
"""Length taken for a free dimension that is not the batch."""
_UNLIKE = 4
"""Rows of the batch whose last one is unlike the others, by so many times:"""
_TIMES = 100
_TIMED = 3
"""Runs of which the fastest counts."""
_OTHER_ROWS = "as many rows come out as the data have it, so requests are not batched"


class _OtherRowsError(Exception):
    """An output has another number of rows than the inputs."""


@dataclass(frozen=True, slots=True)
class Warm:
    """The gate's result, whether batching was proven, milliseconds of a run."""

    gate: GateResult
    batchable: bool
    run_ms: float


def batch_sizes(max_batch: int) -> list[int]:
    """1, 2, 4 … and the largest."""
    sizes = [1]
    while sizes[-1] * 2 < max_batch:
        sizes.append(sizes[-1] * 2)
    return sizes if max_batch == 1 else [*sizes, max_batch]


def most_runs(max_batch: int) -> int:
    """Runs of a warm-up, at most: every size, the first and last row alone, unlike rows twice, and the timed ones."""
    return len(batch_sizes(max_batch)) + 2 + 2 * (1 + _UNLIKE) + _TIMED


def warm_up(
    session: Session, *, batchable: bool, max_batch: int, finite: bool, alive: Callable[[], None] = lambda: None
) -> Warm:
    """Run at every batch size.

    Args:
        session: the freshly loaded model.
        batchable: the first dimension of all inputs and outputs is free.
        max_batch: largest number of rows that will go together.
        finite: refuse NaN and infinities in the outputs.
        alive: called before each run, as a sign of life: on a busy machine they take long.

    Raises:
        ModelRejected: a run failed with shapes that the model declares (`warmup_failed`), an output differs
            from its declaration (`output_undeclared`) or is not finite (`output_not_finite`), or memory ran out
            (`out_of_memory`).
    """
    free = [s.name for s in session.inputs if any(d < 0 for d in s.shape[1 if batchable else 0 :])]
    sizes = batch_sizes(max_batch) if batchable else [1]
    rows = generated_rows(session.inputs, sizes[-1], batchable=batchable)
    try:
        for size in sizes:
            alive()
            largest = _checked_run(session, head(rows, size, batchable), size, batchable, finite)
    except _OtherRowsError:  # the first dimension of the outputs is free, and not that of the inputs
        warm = warm_up(session, batchable=False, max_batch=1, finite=finite, alive=alive)
        return Warm(msgspec.structs.replace(warm.gate, detail=f"{warm.gate.detail}; {_OTHER_ROWS}"), False, warm.run_ms)
    except ModelRunFailed as error:
        if error.reason == "out_of_memory":
            raise ModelRejected(
                f"out of memory in a warmup run; raise runtime.memory_limit: {error.message}", reason="out_of_memory"
            ) from None
        if not free:
            raise ModelRejected(f"a warmup run failed: {error.message}", reason="warmup_failed") from None
        detail = (
            f"inputs {', '.join(free)} have free dimensions, and a run with {_ASSUMED} for each failed: {error.message}"
        )
        return Warm(GateResult("warmup", "skipped", detail), False, 0.0)
    alive()
    independent = batchable and rows_independent(session, rows, largest, sizes[-1], alive)
    alive()
    run_ms = _time_run(session, head(rows, 1, batchable))
    evidence: dict[str, Any] = {
        "batch_sizes": sizes,
        "batching": independent,
        "run_ms": round(run_ms, 3),
        "finite": finite,
    }
    if free:
        evidence["assumed"] = dict.fromkeys(free, _ASSUMED)
    return Warm(GateResult("warmup", "passed", _sentence(sizes, batchable, independent), evidence), independent, run_ms)


def touch(session: Session, batchable: bool, max_batch: int) -> float:
    """The first runs of a proven model in another process: the largest batch and single rows; milliseconds of a run.

    Raises:
        ModelRejected: a run failed that did not fail when it was proven (`warmup_failed`).
    """
    rows = generated_rows(session.inputs, max_batch if batchable else 1, batchable=batchable)
    try:
        if batchable:
            session.run(rows)
        return _time_run(session, head(rows, 1, batchable))
    except ModelRunFailed as error:
        if any(d < 0 for s in session.inputs for d in s.shape[1 if batchable else 0 :]):
            return 0.0  # lengths that are assumed for free dimensions need not be what the model takes
        raise ModelRejected(f"a first run failed: {error.message}", reason="warmup_failed") from None


def _sentence(sizes: Sequence[int], batchable: bool, independent: bool) -> str:
    text = f"{len(sizes)} batch sizes up to {sizes[-1]} answered as declared"
    if batchable and not independent:
        text += "; rows of one batch influence each other, so requests are not batched"
    return text


def _checked_run(session: Session, inputs: list[Array], size: int, batchable: bool, finite: bool) -> list[Array]:
    outputs = session.run(inputs)
    for spec, array in zip(session.outputs, outputs, strict=True):
        _check_declared(spec, array, size, batchable)
        if finite and spec.datatype in _FLOATS and not np.isfinite(array).all():
            raise ModelRejected(
                f"output {spec.name} holds NaN or infinite values on generated inputs at batch size {size}; "
                "set gates.warmup.finite: false if the model means it",
                reason="output_not_finite",
            )
    return outputs


def _check_declared(spec: TensorSpec, array: Array, size: int, batchable: bool) -> None:
    fits = not spec.shape or spec.fits(array.shape)
    if fits and spec.shape and batchable and array.shape[0] != size:
        raise _OtherRowsError
    if not fits or (spec.datatype.itemsize and array.dtype != spec.datatype.numpy):
        raise ModelRejected(
            f"output {spec.name} is declared {spec.datatype.name}{list(spec.shape)} but came as "
            f"{array.dtype}{list(array.shape)} for {size} rows",
            reason="output_undeclared",
        )


def rows_independent(
    session: Session, rows: list[Array], whole: list[Array], size: int, alive: Callable[[], None] = lambda: None
) -> bool:
    """Whether rows alone give what they gave inside a batch: the largest one, and one of rows that are very unlike.

    Unlike rows show what looks at all of a batch, but sees little of it where the rows are alike: a maximum over the
    rows, or the range that dynamic quantisation takes its scale from. Integers may be indices: where a model does not
    take unlike ones, only its other numbers are made unlike.
    """
    if size == 1:
        return True
    if not _same_alone(session, rows, whole, (0, size - 1), alive):
        return False
    counted = any(spec.datatype in _INTEGERS for spec in session.inputs)
    for integers in (True, False) if counted else (False,):
        unlike = _unlike(session.inputs, rows, min(size, _UNLIKE), integers=integers)
        alive()
        try:
            return _same_alone(session, unlike, session.run(unlike), range(len(unlike[0])), alive)
        except ModelRunFailed:
            continue  # a model that does not take such numbers
    return True


def _same_alone(
    session: Session, rows: list[Array], whole: list[Array], chosen: Iterable[int], alive: Callable[[], None]
) -> bool:
    for row in chosen:
        alive()
        alone = session.run([a[row : row + 1] for a in rows])
        for spec, one, many in zip(session.outputs, alone, whole, strict=True):
            if one.shape[:1] != (1,) or many.shape != (len(rows[0]), *one.shape[1:]):
                return False  # as many rows, or as long ones, as the data of all rows have it
            if not _equal(_floats(spec, one), _floats(spec, many[row : row + 1])):
                return False
    return True


def _equal(one: Array, many: Array) -> bool:
    if one.dtype.kind == "f":
        return np.allclose(one, many, rtol=1e-2, atol=1e-3, equal_nan=True)
    return np.array_equal(one, many)


def _floats(spec: TensorSpec, array: Array) -> Array:
    """The same, the raw bits of BF16 as what they stand for."""
    return (array.astype(np.uint32) << 16).view(np.float32) if spec.datatype is Datatype.BF16 else array


def _unlike(specs: Sequence[TensorSpec], rows: list[Array], size: int, *, integers: bool) -> list[Array]:
    """So many of the rows, the last one many times as large as the others where it is of numbers.

    Args:
        specs: of the inputs.
        rows: as they were generated.
        size: how many of them.
        integers: also where it is of integers: pixels by as much as floats, what may be an index or a mask twice.
    """
    unlike = []
    for spec, array in zip(specs, rows, strict=True):
        many = array[:size].copy()
        if spec.datatype is Datatype.BF16:
            many[-1:] = _bf16(_floats(spec, many[-1:]) * np.float32(_TIMES))
        elif spec.datatype in _FLOATS or (integers and spec.datatype in _PIXELS):
            many[-1] *= many.dtype.type(_TIMES)
        elif integers and spec.datatype in _INTEGERS:
            many[-1] *= many.dtype.type(2)
        unlike.append(many)
    return unlike


def _time_run(session: Session, inputs: list[Array]) -> float:
    """Milliseconds of the fastest of some runs."""
    best = float("inf")
    for _ in range(_TIMED):
        start = time.perf_counter()
        session.run(inputs)
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def head(rows: list[Array], size: int, batchable: bool) -> list[Array]:
    """The first rows of each input; everything where rows cannot be told apart."""
    return [a[:size] for a in rows] if batchable else rows


def generated_rows(
    specs: Sequence[TensorSpec], rows: int, *, batchable: bool, seed: int = _SEED
) -> list[Array]:  # fmt: skip
    """Inputs with different rows: floats in (0, 1], integers 0 and 1 (valid as indices almost everywhere)."""
    generator = np.random.default_rng(seed)
    arrays: list[Array] = []
    for spec in specs:
        shape = [_ASSUMED if d < 0 else d for d in spec.shape]
        if batchable:
            shape[0] = rows
        # A scalar's shape is empty, for which numpy makes numbers that are no arrays.
        arrays.append(_generated(spec.datatype, shape or [1], generator).reshape(shape))
    return arrays


def _generated(datatype: Datatype, shape: list[int], generator: np.random.Generator) -> Array:
    if datatype is Datatype.BYTES:
        return generator.integers(0, 2, shape).astype(str).astype(object)
    if datatype is Datatype.BF16:
        return _bf16(1.0 - generator.random(shape, np.float32))
    if datatype in _FLOATS:
        return (1.0 - generator.random(shape)).astype(datatype.numpy)
    return generator.integers(0, 2, shape).astype(datatype.numpy)


def _bf16(floats: Array) -> Array:
    """The raw bits, cut off."""
    return (floats.view(np.uint32) >> 16).astype(np.uint16)
