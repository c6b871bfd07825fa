"""Comparing two answers to one request cheaply enough for a gateway (docs/adr/0010).

The judge takes two measures: a flip of the best class, and the bounded error (Bray-Curtis dissimilarity of numbers,
share of other elements of texts). For people there are the largest absolute and relative error and the smallest cosine.
All mean what they do in `prover.comparison`. Of a large output (a mask, an image) a part is compared, another one each
time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from changeover.telemetry.evidence import ERROR_STEPS, FARTHEST, TOGETHER, Apart
from changeover.tensors import Datatype, Tensor

MOST_ELEMENTS: Final = 1 << 17
"""Of an output that are compared: a millisecond's work. Of one that has classes a row is not divided."""
MOST_CLASSES: Final = 1 << 18
"""A row of more numbers is a signal, not a score for each class: vocabularies end near there. The prover's too."""
_FLOATS = (Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16)
Array = npt.NDArray[Any]


class Difference(NamedTuple):
    """What two answers, or two outputs, differ by.

    Attributes:
        flip: the best class of any row is another one; None where no output has classes.
        error: bounded, 0 to 1, of the worst output.
        apart: at most.
    """

    flip: bool | None
    error: float
    apart: Apart


class Excerpt(NamedTuple):
    """What is compared of an output, in memory of its own.

    Attributes:
        datatype, shape: of the whole output.
        part: of its elements [rows, columns]; half precision and BF16 as FP32.
    """

    datatype: Datatype
    shape: tuple[int, ...]
    part: Array


_EQUAL: Final = Difference(None, 0.0, TOGETHER)
_OTHER: Final = Difference(True, 1.0, FARTHEST)


class PairCount:
    """Compared pairs of one candidate under one epoch at one gateway; it only grows.

    Attributes:
        compared, flips, failures, dropped: see `telemetry.evidence.Pairs`.
        errors: counts by step of the bounded error, of pairs that have no classes: where one has, flips are counted.
        apart: the pair that is farthest apart, in each measure.
    """

    __slots__ = ("_told", "apart", "compared", "dropped", "epoch", "errors", "failures", "flips", "loading")

    def __init__(self, loading: int, epoch: int) -> None:
        self.loading = loading
        self.epoch = epoch
        self.compared = 0
        self.flips = 0
        self.failures = 0
        self.dropped = 0
        self.errors = [0] * (ERROR_STEPS + 1)
        self.apart = TOGETHER
        self._told = (0, 0, 0)

    def is_news(self) -> bool:
        """Whether anything was counted since this was asked last."""
        before, self._told = self._told, (self.compared, self.failures, self.dropped)
        return before != self._told

    def forget(self) -> None:
        """What was counted is news again."""
        self._told = (0, 0, 0)

    def add(self, active: Sequence[Excerpt], candidate: Sequence[Excerpt]) -> None:
        """Compare two answers and count the pair."""
        flip, error, apart = compare(active, candidate)
        self.compared += 1
        self.apart = self.apart.joined(apart)
        if flip is None:
            self.errors[min(math.ceil(error * ERROR_STEPS), ERROR_STEPS)] += 1
        else:
            self.flips += flip


def excerpt(tensor: Tensor, turn: int) -> Excerpt:
    """Take what is compared of an output.

    Args:
        tensor: the output; of any datatype but BYTES no more is read than is taken.
        turn: other elements with each number; two answers are laid side by side by the same.
    """
    whole = tensor.numpy()
    rows = whole.shape[0] if whole.ndim else 1
    whole = whole.reshape(rows, whole.size // rows if rows else 0)
    columns = whole.shape[1]
    part = whole
    if whole.size > MOST_ELEMENTS:
        if columns <= MOST_ELEMENTS or _has_classes(tensor.datatype, tensor.shape):
            step = math.ceil(rows / max(MOST_ELEMENTS // columns, 1))
            part = whole[turn % step :: step]
        else:
            step = _stride(math.ceil(whole.size / MOST_ELEMENTS), columns)
            part = whole[:, turn % step :: step]
    return Excerpt(tensor.datatype, tensor.shape, _computable(part, tensor.datatype))


def _stride(least: int, columns: int) -> int:
    """Of a row's elements every so manieth, such that each part has some of every channel, line and column.

    One that shares a factor with the size of an axis would find the same few places of it all along the row.
    """
    return next(step for step in count(least) if math.gcd(step, columns) == 1)


def _computable(part: Array, datatype: Datatype) -> Array:
    if datatype is Datatype.BF16:
        return (part.astype(np.uint32) << 16).view(np.float32)
    return part.astype(np.float32) if datatype is Datatype.FP16 else part.copy()


def _has_classes(datatype: Datatype, shape: tuple[int, ...]) -> bool:
    """Whether a row is a score for each class."""
    long = [size for size in shape[1:] if size != 1]
    return datatype in _FLOATS and len(long) == 1 and long[0] <= MOST_CLASSES


def alike(active: Sequence[Excerpt], outputs: Sequence[Tensor]) -> bool:
    """Whether outputs are of the types and shapes that those of the other answer have; nothing of them is read."""
    return [(one.datatype, one.shape) for one in active] == [(one.datatype, one.shape) for one in outputs]


def compare(active: Sequence[Excerpt], candidate: Sequence[Excerpt]) -> Difference:
    """Lay two answers side by side."""
    if len(active) != len(candidate):
        return _OTHER
    whole = _EQUAL
    for one in map(_output, active, candidate):
        flip = one.flip if whole.flip is None else whole.flip or bool(one.flip)
        whole = Difference(flip, max(whole.error, one.error), whole.apart.joined(one.apart))
    return whole


def _output(active: Excerpt, candidate: Excerpt) -> Difference:
    if active.shape != candidate.shape or active.datatype is not candidate.datatype:
        return _OTHER
    ours, theirs = active.part, candidate.part
    if not ours.size:
        return _EQUAL
    if active.datatype is Datatype.BYTES:
        other = float(np.mean(ours != theirs))
        return Difference(other > 0, other, TOGETHER)
    flip = _flips(ours, theirs, active)
    if ours.dtype.kind != "f":
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(all="ignore"):
        return Difference(flip, _error(ours, theirs), _apart(ours, theirs))


def _flips(ours: Array, theirs: Array, whole: Excerpt) -> bool | None:
    """A row's class is its one value where that is a label, else its best score; None where it has neither."""
    if whole.datatype not in _FLOATS:
        return bool((ours != theirs).any()) if math.prod(whole.shape[1:]) == 1 else None
    if not _has_classes(whole.datatype, whole.shape):
        return None
    return bool((_best(ours) != _best(theirs)).any())


def _best(rows: Array) -> Array:
    best: Array = rows.argmax(1)  # the first NaN of a row, where there is one
    if np.isnan(rows[np.arange(len(rows)), best]).any():
        best = np.nan_to_num(rows, nan=-np.inf).argmax(1)
    return best


def _error(ours: Array, theirs: Array) -> float:
    """The sum of distances over the sum of sizes; 1 where only one of two is finite, or they are infinite apart."""
    apart, sizes = _sums(ours, theirs)
    if not math.isfinite(apart + sizes):
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        fine = np.isfinite(ours) & np.isfinite(theirs)
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        if not (fine | same).all():
            return 1.0
        top = max(np.abs(part[fine]).max(initial=0.0) for part in (ours, theirs)) or 1.0
        apart, sizes = _sums(ours[fine] / top, theirs[fine] / top)
    return min(apart / sizes, 1.0) if sizes else 0.0


def _apart(ours: Array, theirs: Array) -> Apart:
    distance = np.abs(ours - theirs)
    absolute, relative = float(distance.max()), float(np.fmax.reduce(distance / np.abs(ours), axis=None))
    if not math.isfinite(absolute + relative):
        absolute, relative = _odd_apart(ours.astype(np.float64), theirs.astype(np.float64))
    return Apart(min(absolute, FARTHEST.absolute), min(relative, FARTHEST.relative), _cosine(ours, theirs))


def _odd_apart(ours: Array, theirs: Array) -> tuple[float, float]:
    """Infinities of one sign, and NaN on both sides, are equal; over the active version's zero an error is infinite."""
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    distance = np.where(same, 0.0, np.abs(ours - theirs))
    relative = np.where(same, 0.0, distance / np.abs(ours))
    absolute, worst = (float(np.nan_to_num(part, nan=np.inf, posinf=np.inf).max()) for part in (distance, relative))
    return absolute, worst


def _cosine(ours: Array, theirs: Array) -> float:
    """Of the worst row; 1 where both are the same, 0 where one has no length, -1 where one alone is not finite."""
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    dot, first, second = (np.einsum("ij,ij->i", a, b) for a, b in ((ours, theirs), (ours, ours), (theirs, theirs)))
    found = dot / np.sqrt(first * second)
    if not np.isfinite(found).all():
        return _odd_cosine(ours, theirs)
    return min(max(float(found.min()), -1.0), 1.0)


def _odd_cosine(ours: Array, theirs: Array) -> float:
    """The same with the rows scaled: squares of large numbers overflow, and rows of zeros have no length."""
    lowest = 1.0
    for one, other in zip(ours, theirs, strict=True):
        if ((one == other) | (np.isnan(one) & np.isnan(other))).all():
            continue
        if not np.isfinite(one + other).all():
            return -1.0
        first, second = (row / (np.abs(row).max() or 1.0) for row in (one, other))
        lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
        lowest = min(lowest, float(first @ second) / lengths if lengths else 0.0)
    return max(lowest, -1.0)


def _sums(ours: Array, theirs: Array) -> tuple[float, float]:
    apart = np.abs(ours - theirs).sum(dtype=np.float64)
    sizes = np.abs(ours).sum(dtype=np.float64) + np.abs(theirs).sum(dtype=np.float64)
    return float(apart), float(sizes)
