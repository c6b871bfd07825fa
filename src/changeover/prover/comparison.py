"""How much two answers to one request differ: the active version's and the candidate's. Pure numpy.

Four measures, because each misses something: a top-1 flip says whether a client that takes the best class would have
acted otherwise; the largest absolute and relative errors are what a tolerance is about; the cosine is about direction,
for embeddings; the *bounded error* lies in [0, 1] for any model whatever, so that a mean of it can be judged without an
assumption on the outputs (it is the Bray-Curtis dissimilarity of numbers, and the share of other elements of texts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from changeover.telemetry.pairing import MOST_CLASSES
from changeover.tensors import Datatype, TensorSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two answers, or two outputs, differ by.

    Attributes:
        flip: the top-1 class of any row differs; None where no output has classes.
        max_abs, max_rel: largest error of any element; relative to the active version's, infinite over its zero.
        cosine: smallest of any row, in [-1, 1]; 1 where there are no numbers.
        error: bounded, in [0, 1]: the largest of any output.
    """

    flip: bool | None
    max_abs: float
    max_rel: float
    cosine: float
    error: float


_FLOATS: Final = (Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16)
_EQUAL: Final = Comparison(flip=None, max_abs=0.0, max_rel=0.0, cosine=1.0, error=0.0)
_OTHER: Final = Comparison(flip=True, max_abs=math.inf, max_rel=math.inf, cosine=-1.0, error=1.0)
"""Two answers that cannot even be laid side by side."""


def compare(specs: Sequence[TensorSpec], active: Sequence[Array], candidate: Sequence[Array]) -> Comparison:
    """Compare two answers.

    Args:
        specs: of the outputs, in the order of the arrays; shapes declared by the active version.
        active: one array an output, BF16 as raw 16 bits, BYTES as objects.
        candidate: the same outputs of the candidate.
    """
    return _together([compare_output(s, a, c) for s, a, c in zip(specs, active, candidate, strict=True)])


def _together(found: Sequence[Comparison]) -> Comparison:
    """One answer, by its outputs."""
    if not found:
        return _EQUAL
    flips = [one.flip for one in found if one.flip is not None]
    return Comparison(
        flip=any(flips) if flips else None,
        max_abs=max(one.max_abs for one in found),
        max_rel=max(one.max_rel for one in found),
        cosine=min(one.cosine for one in found),
        error=max(one.error for one in found),
    )


def compare_each(specs: Sequence[TensorSpec], active: Sequence[Array], candidate: Sequence[Array]) -> list[Comparison]:
    """Compare many answers of one row each, all at once: what `compare` says of each row, in their order.

    Args:
        specs: of the outputs.
        active: as for `compare`, with as many rows on each first axis as there are answers.
        candidate: the same.
    """
    outputs = [_each(s, a, c) for s, a, c in zip(specs, active, candidate, strict=True)]
    return [_together(found) for found in zip(*outputs, strict=True)]


def compare_output(spec: TensorSpec, active: Array, candidate: Array) -> Comparison:
    """Compare one output of two answers."""
    if active.shape != candidate.shape:
        return _OTHER
    if not active.size:
        return _EQUAL
    if active.dtype == object or candidate.dtype == object:
        other = float(np.mean(active != candidate))
        return Comparison(flip=other > 0, max_abs=0.0, max_rel=0.0, cosine=1.0, error=other)
    before, after = numbers(spec, active), numbers(spec, candidate)
    distance, relative = _distances(before, after)
    flips = _flips(spec, before, after)
    return Comparison(
        flip=None if flips is None else bool(np.any(flips)),
        max_abs=float(_largest(distance)),
        max_rel=float(_largest(relative)),
        cosine=float(cosines(before, after).min()),
        error=float(_bounded(*(values.reshape(1, -1) for values in (before, after, distance)))[0]),
    )


def _each(spec: TensorSpec, active: Array, candidate: Array) -> list[Comparison]:
    """One output of many answers of one row."""
    rows = len(active)
    if active.shape != candidate.shape or not active.size or object in (active.dtype, candidate.dtype):
        return [compare_output(spec, active[row : row + 1], candidate[row : row + 1]) for row in range(rows)]
    before, after = numbers(spec, active), numbers(spec, candidate)
    distance, relative = (values.reshape(rows, -1) for values in _distances(before, after))
    flips = _flips(spec, before, after)
    flat = before.reshape(rows, -1), after.reshape(rows, -1)
    found = (_largest(distance, 1), _largest(relative, 1), cosines(before, after), _bounded(*flat, distance))
    measures = [values.tolist() for values in found]
    told = [None] * rows if flips is None else flips.tolist()
    return [Comparison(flip, *row) for flip, *row in zip(told, *measures, strict=True)]


def numbers(spec: TensorSpec, array: Array) -> npt.NDArray[np.float64]:
    """An output as 64-bit numbers; the raw bits of BF16 become what they stand for."""
    if spec.datatype is Datatype.BF16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def classes(spec: TensorSpec, array: Array) -> Array | None:
    """The class that each row of an output names: its own value where it is a label, else the best of its scores.

    Args:
        spec: of the output.
        array: rows on the first axis.

    Returns:
        One value a row; None where an output is neither: a single number a row, a picture, or a long signal.
    """
    rows = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
    if spec.datatype not in _FLOATS:
        return rows[:, 0] if rows.shape[1] == 1 else None
    if not scored(spec, array):
        return None
    best: Array = np.argmax(np.nan_to_num(numbers(spec, rows), nan=-np.inf), axis=1)
    return best


def scored(spec: TensorSpec, array: Array) -> bool:
    """Whether the rows of an output are scores of classes: 2 to `MOST_CLASSES` floating-point numbers on one axis."""
    long = [size for size in array.shape[1:] if size != 1]
    return spec.datatype in _FLOATS and len(long) == 1 and 2 <= long[0] <= MOST_CLASSES


def _distances(before: Array, after: Array) -> tuple[Array, Array]:
    """Absolute and relative, of each element; 0 where both are NaN."""
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(all="ignore"):
        distance = np.where(same, 0.0, np.abs(after - before))
        return distance, np.where(same, 0.0, distance / np.abs(before))


def _flips(spec: TensorSpec, before: Array, after: Array) -> Array | None:
    """Whether the class differs, of each row; None where an output has none."""
    plain = TensorSpec(spec.name, Datatype.FP64, spec.shape) if spec.datatype is Datatype.BF16 else spec
    ours, theirs = classes(plain, before), classes(plain, after)
    return None if ours is None or theirs is None else np.asarray(ours != theirs)


def _largest(values: Array, axis: int | None = None) -> Any:
    """The largest that counts: NaN is as far away as can be."""
    return np.maximum(np.max(np.nan_to_num(values, nan=np.inf, posinf=np.inf), axis=axis), 0.0)


def cosines(before: Array, after: Array) -> npt.NDArray[np.float64]:
    """Cosine of each row with its counterpart, both 64-bit numbers; -1 where only one side is finite."""
    rows = before.shape[0] if before.ndim else 1
    ours, theirs = before.reshape(rows, -1), after.reshape(rows, -1)
    same = np.all((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)), axis=1)
    odd: Array = np.asarray((~(np.isfinite(ours) & np.isfinite(theirs))).any(axis=1))
    # Scaled first: squares of large numbers would overflow.
    ours, theirs = (_scaled(np.where(odd[:, np.newaxis], 0.0, part)) for part in (ours, theirs))
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    dots = np.einsum("ij,ij->i", ours, theirs)
    found = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    cosine: npt.NDArray[np.float64] = np.where(same, 1.0, np.where(odd, -1.0, np.clip(found, -1.0, 1.0)))
    return cosine


def _scaled(rows: Array) -> Array:
    top = np.abs(rows).max(axis=1, keepdims=True)
    scaled: Array = np.divide(rows, top, out=np.zeros_like(rows), where=top > 0)
    return scaled


def _bounded(before: Array, after: Array, distance: Array) -> Array:
    """Bray-Curtis of each row: the sum of distances over the sum of sizes; 1 where one side only is not finite."""
    odd = ~(np.isfinite(before) & np.isfinite(after))
    lost = (odd & (distance != 0)).any(axis=1)
    before, after, distance = (np.where(odd, 0.0, values) for values in (before, after, distance))
    top = np.maximum(np.abs(before).max(axis=1), np.abs(after).max(axis=1))
    scale = np.where(top > 0, top, 1.0)[:, np.newaxis]
    apart = (distance / scale).sum(axis=1)
    sizes = (np.abs(before) / scale).sum(axis=1) + (np.abs(after) / scale).sum(axis=1)
    error = np.divide(apart, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    return np.where(lost, 1.0, np.minimum(error, 1.0))
