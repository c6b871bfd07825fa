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
_ASSUMED = 8
"""Length taken for a free dimension that is not the batch."""
_UNLIKE = 4
"""Rows of the batch whose last one is unlike the others, by so many times:"""
_TIMES = 100.0
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
    independent = batchable and rows_independent(session, rows, largest, sizes[-1])
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


def rows_independent(session: Session, rows: list[Array], whole: list[Array], size: int) -> bool:
    """Whether rows alone give what they gave inside a batch: the largest one, and one of rows that are very unlike.

    Unlike rows show what looks at all of a batch, but sees little of it where the rows are alike: a maximum over the
    rows, or the range that dynamic quantisation takes its scale from.
    """
    if size == 1:
        return True
    if not _same_alone(session, rows, whole, (0, size - 1)):
        return False
    unlike = _unlike(rows, min(size, _UNLIKE))
    try:
        return _same_alone(session, unlike, session.run(unlike), range(len(unlike[0])))
    except ModelRunFailed:
        return True  # a model that does not take such numbers


def _same_alone(session: Session, rows: list[Array], whole: list[Array], chosen: Iterable[int]) -> bool:
    for row in chosen:
        alone = session.run([a[row : row + 1] for a in rows])
        for one, many in zip(alone, whole, strict=True):
            if one.dtype.kind == "f":
                if not np.allclose(one[0], many[row], rtol=1e-2, atol=1e-3, equal_nan=True):
                    return False
            elif not np.array_equal(one[0], many[row]):
                return False
    return True


def _unlike(rows: list[Array], size: int) -> list[Array]:
    """So many of the rows, where they are floats the last one a hundred times as large as the others."""
    scale = np.ones(size)
    scale[-1] = _TIMES
    return [
        (a[:size] * scale.reshape(-1, *[1] * (a.ndim - 1))).astype(a.dtype) if a.dtype.kind == "f" else a[:size]
        for a in rows
    ]


def _time_run(session: Session, inputs: list[Array]) -> float:
    """Milliseconds of the fastest of three runs."""
    best = float("inf")
    for _ in range(3):
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
        return (1.0 - generator.random(shape, np.float32)).view(np.uint32).__rshift__(16).astype(np.uint16)
    if datatype in _FLOATS:
        return (1.0 - generator.random(shape)).astype(datatype.numpy)
    return generator.integers(0, 2, shape).astype(datatype.numpy)
