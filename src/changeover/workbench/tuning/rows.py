"""The inputs that are run: of a golden set, of recorded requests, or generated; in a file that all processes read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from changeover.errors import ModelRejected
from changeover.prover.golden import GoldenSet, archives, load, typed
from changeover.runtime.session import Array
from changeover.runtime.warmup import generated_rows
from changeover.tensors import TensorSpec
from changeover.workbench.tuning.wish import Wish

_GENERATED: Final = 256
_MOST: Final = 1024
_MOST_BYTES: Final = 256 << 20
_SEED: Final = 29


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs of runs.

    Attributes:
        columns: one array an input, rows on the first axis; where the model takes no rows, whole inputs of runs.
        batchable: rows can be put together as one likes.
        source: where they are from: `golden`, `requests`, `generated`.
    """

    columns: list[Array]
    batchable: bool
    source: str = "generated"

    @property
    def count(self) -> int:
        """Rows, or whole inputs."""
        return len(self.columns[0]) if self.columns else 0

    def some(self, many: int, turn: int = 0) -> list[Array]:
        """Inputs of a run of so many rows, others for each turn; rows come again when there are too few."""
        if not self.batchable:
            return [np.ascontiguousarray(column[turn % self.count]) for column in self.columns]
        places = (np.arange(many) + turn * many) % self.count
        return [np.ascontiguousarray(column[places]) for column in self.columns]

    def singly(self, most: int) -> list[list[Array]]:
        """One run's inputs a row, as they are calibrated with; none of generated ones, which say nothing."""
        if self.source == "generated":
            return []
        return [self.some(1, at) for at in range(min(self.count, most))]

    def write(self, file: Path) -> None:
        """Into a file without pickles; texts as such."""
        plain: dict[str, Any] = {
            f"c{at}": column.astype(str) if column.dtype == object else column for at, column in enumerate(self.columns)
        }
        np.savez(file, batchable=np.array([self.batchable]), source=np.array([self.source]), **plain)

    @classmethod
    def read(cls, file: Path, specs: Sequence[TensorSpec]) -> Rows:
        """What `write` wrote, for these inputs."""
        with np.load(file, allow_pickle=False) as stored:
            columns = [typed(stored[f"c{at}"], spec) for at, spec in enumerate(specs)]
            return cls(columns, bool(stored["batchable"][0]), str(stored["source"][0]))


def gather(wish: Wish, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[Rows, GoldenSet | None]:
    """The best there are, and the golden set where there is one.

    Raises:
        ModelRejected: what was given is not for this model (`golden_invalid`, `requests_invalid`).
    """
    batchable = all(spec.shape[:1] == (-1,) for spec in (*inputs, *outputs))
    if wish.golden is not None:
        golden = load(wish.golden, inputs, outputs)
        made = _of_golden(golden, inputs, batchable)
        if made is not None:
            return made, golden
        return Rows(_generated(inputs, batchable), batchable), golden
    if wish.requests is not None:
        return Rows(_recorded(wish.requests, inputs, batchable), batchable, "requests"), None
    return Rows(_generated(inputs, batchable), batchable), None


def _generated(inputs: Sequence[TensorSpec], batchable: bool) -> list[Array]:
    if batchable:
        each = sum(array.nbytes for array in generated_rows(inputs, 1, batchable=True))
        return generated_rows(inputs, max(1, min(_GENERATED, _MOST_BYTES // max(each, 1))), batchable=True)
    several = [generated_rows(inputs, 1, batchable=False, seed=_SEED + at) for at in range(16)]
    return [np.stack(column) for column in zip(*several, strict=True)]


def _of_golden(golden: GoldenSet, inputs: Sequence[TensorSpec], batchable: bool) -> Rows | None:
    """Samples of a golden set as rows, or as whole inputs; None where their shapes differ."""
    order = golden.order()[:_MOST].tolist()
    whole = golden.whole or any(spec.fits(golden.inputs[spec.name][0].shape) for spec in inputs)
    columns: list[Array] = []
    for spec in inputs:
        items = [golden.inputs[spec.name][sample] for sample in order]
        if len({item.shape for item in items}) != 1:
            return None
        column = np.stack(items)
        if batchable and whole:  # each holds rows of its own
            column = column.reshape(-1, *column.shape[2:])
        elif not batchable and not whole:  # a sample without the leading 1 that the model wants
            column = column[:, np.newaxis]
        columns.append(column)
    if len({len(column) for column in columns}) != 1:
        return None
    return Rows(columns, batchable, "golden")


def _recorded(file: Path, inputs: Sequence[TensorSpec], batchable: bool) -> list[Array]:
    try:
        (found,) = archives([file])
        columns = [typed(_decoded(found[spec.name]), spec)[:_MOST] for spec in inputs]
    except KeyError as error:
        raise _unfit(f"{file} has no array for input {error}") from None
    except ModelRejected as error:
        raise _unfit(f"{file}: {error.message}") from None
    except Exception as error:  # noqa: BLE001 - numpy and zipfile raise many kinds for a file that is none of theirs
        raise _unfit(f"{file} cannot be read: {error}") from None
    if len({len(column) for column in columns}) != 1 or not len(columns[0]):
        raise _unfit(f"{file}: its arrays differ in their number of rows, or have none")
    return [_as_taken(file, spec, column, batchable) for spec, column in zip(inputs, columns, strict=True)]


def _decoded(column: Array) -> Array:
    """Texts as such, whatever bytes a client sent for one: it would spoil all others."""
    return np.strings.decode(column, "utf-8", "replace") if column.dtype.kind == "S" else column


def _as_taken(file: Path, spec: TensorSpec, column: Array, batchable: bool) -> Array:
    """Samples as rows, or as whole inputs; a sample is one or the other."""
    whole = spec.fits(column.shape[1:])
    if not whole and not spec.fits((1, *column.shape[1:])):
        raise _unfit(f"{file}: {spec.name} is {list(column.shape)}, and the model takes {list(spec.shape)}")
    if batchable:
        return column.reshape(-1, *column.shape[2:]) if whole else column
    return column if whole else column[:, np.newaxis]


def _unfit(what: str) -> ModelRejected:
    return ModelRejected(f"the recorded requests cannot be used: {what}"[:500], reason="requests_invalid")
