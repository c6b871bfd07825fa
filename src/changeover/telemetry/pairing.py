"""Comparing two answers to one request cheaply enough for a gateway: 5 µs for ten scores, 25 µs for 16,000.

It gives the two measures that the judge takes, with the meaning that they have in `prover.comparison`: a flip of the
best class, and the bounded error (Bray-Curtis dissimilarity of numbers, share of other elements of texts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from changeover.telemetry.evidence import ERROR_STEPS
from changeover.tensors import Datatype, Tensor

_FLOATS = (Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16)
Array = npt.NDArray[Any]


class PairCount:
    """Compared pairs of one candidate under one epoch at one gateway; it only grows.

    Attributes:
        compared, flips, failures, dropped: see `telemetry.evidence.Pairs`.
        errors: counts by step of the bounded error, of pairs that have no classes: where one has, flips are counted.
    """

    __slots__ = ("_told", "compared", "dropped", "epoch", "errors", "failures", "flips", "loading")

    def __init__(self, loading: int, epoch: int) -> None:
        self.loading = loading
        self.epoch = epoch
        self.compared = 0
        self.flips = 0
        self.failures = 0
        self.dropped = 0
        self.errors = [0] * (ERROR_STEPS + 1)
        self._told = (0, 0, 0)

    def is_news(self) -> bool:
        """Whether anything was counted since this was asked last."""
        before, self._told = self._told, (self.compared, self.failures, self.dropped)
        return before != self._told

    def forget(self) -> None:
        """What was counted is news again."""
        self._told = (0, 0, 0)

    def add(self, active: Sequence[Tensor], candidate: Sequence[Tensor]) -> None:
        """Compare two answers and count the pair."""
        flip, error = compare(active, candidate)
        self.compared += 1
        if flip is None:
            self.errors[min(math.ceil(error * ERROR_STEPS), ERROR_STEPS)] += 1
        else:
            self.flips += flip


def compare(active: Sequence[Tensor], candidate: Sequence[Tensor]) -> tuple[bool | None, float]:
    """Whether the best class of any row is another one, and the bounded error, 0 to 1, of the worst output.

    The first is None where no output has classes.
    """
    if len(active) != len(candidate):
        return True, 1.0
    found = [_output(a, c) for a, c in zip(active, candidate, strict=True)]
    flips = [flip for flip, _ in found if flip is not None]
    return any(flips) if flips else None, max((error for _, error in found), default=0.0)


def _output(active: Tensor, candidate: Tensor) -> tuple[bool | None, float]:
    if active.shape != candidate.shape or active.datatype is not candidate.datatype:
        return True, 1.0
    ours, theirs = _array(active), _array(candidate)
    if not ours.size:
        return None, 0.0
    if active.datatype is Datatype.BYTES:
        other = float(np.mean(ours != theirs))
        return other > 0, other
    return _flips(ours, theirs, scores=active.datatype in _FLOATS), _error(ours, theirs)


def _array(tensor: Tensor) -> Array:
    array = tensor.numpy()
    if tensor.datatype is Datatype.BF16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if tensor.datatype is Datatype.FP16 else array


def _flips(ours: Array, theirs: Array, *, scores: bool) -> bool | None:
    """A row's class is its one value where that is a label, else its best score; None where it has neither."""
    shape = ours.shape or (1,)
    columns = ours.size // shape[0]
    if not scores:
        return bool((ours != theirs).any()) if columns == 1 else None
    if columns < 2 or sum(size != 1 for size in shape[1:]) != 1:
        return None
    best, other = (_best(part.reshape(shape[0], columns)) for part in (ours, theirs))
    return bool((best != other).any())


def _best(rows: Array) -> Array:
    best: Array = rows.argmax(1)  # the first NaN of a row, where there is one
    if np.isnan(rows[np.arange(len(rows)), best]).any():
        best = np.nan_to_num(rows, nan=-np.inf).argmax(1)
    return best


def _error(ours: Array, theirs: Array) -> float:
    """The sum of distances over the sum of sizes; 1 where only one of two is finite, or they are infinite apart."""
    with np.errstate(all="ignore"):
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


def _sums(ours: Array, theirs: Array) -> tuple[float, float]:
    if ours.dtype.kind != "f":
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    apart = np.abs(ours - theirs).sum(dtype=np.float64)
    sizes = np.abs(ours).sum(dtype=np.float64) + np.abs(theirs).sum(dtype=np.float64)
    return float(apart), float(sizes)
