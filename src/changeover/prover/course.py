"""Steps of sequences for the gate `state`: recorded in a golden set, or generated.

A golden set of a sequence model is `golden/*.npz` with one array an input that clients send, by its name: sequences on
the first axis, their steps on the second, then what one step takes (its rows may be left out). Outputs and labels in it
are for the gate `accuracy` (`recited`). Several files are one set.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from changeover.errors import ModelRejected
from changeover.prover import golden
from changeover.runtime import warmup
from changeover.runtime.session import Array
from changeover.runtime.stepping import Inputs
from changeover.tensors import TensorSpec

Steps = Sequence[Inputs]
_SEQUENCES: Final = 4
_STEPS: Final = 24
_MOST_SEQUENCES: Final = 64
MOST_STEPS: Final = 512
"""Of a recorded sequence; later ones are not run."""


@dataclass(frozen=True, slots=True)
class Course:
    """What is run.

    Attributes:
        sequences: public inputs, a step each.
        recorded: they come from a golden set; else they were generated.
    """

    sequences: Sequence[Steps]
    recorded: bool

    @property
    def source(self) -> str:
        """For the record."""
        return "golden" if self.recorded else "generated"


def course(folders: Sequence[str], inputs: Sequence[TensorSpec]) -> Course:
    """The steps to be run.

    Args:
        folders: in which a golden set may lie.
        inputs: that clients send.

    Raises:
        ModelRejected: `golden_invalid`.
    """
    folder = golden.find(folders)
    return generated(inputs) if folder is None else recorded(folder, inputs)


def recorded(folder: Path, inputs: Sequence[TensorSpec]) -> Course:
    """The steps of a golden set. Raises as `course`."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise invalid("a sequence model takes *.npz, and it holds none")
    try:
        found = [sequence for arrays in golden.archives(files) for sequence in sequences(arrays, inputs)]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise invalid(f"it cannot be read: {error}") from error
    return Course(found[:_MOST_SEQUENCES], recorded=True)


def generated(inputs: Sequence[TensorSpec]) -> Course:
    """Steps of made-up numbers, the same every time."""
    return Course(
        [
            [_made(inputs, sequence * _STEPS + step) for step in range(_STEPS)]
            for sequence in range(_SEQUENCES)
        ],
        recorded=False,
    )  # fmt: skip


def _made(inputs: Sequence[TensorSpec], seed: int) -> Inputs:
    rows = warmup.generated_rows(inputs, 1, batchable=all(s.shape[:1] == (-1,) for s in inputs), seed=seed)
    return {spec.name: array for spec, array in zip(inputs, rows, strict=True)}


def sequences(arrays: dict[str, Array], inputs: Sequence[TensorSpec]) -> list[Steps]:
    """The recorded sequences of one archive. Raises ModelRejected (`golden_invalid`)."""
    lacking = {spec.name for spec in inputs} - arrays.keys()
    if lacking:
        raise invalid(f"there is no array for input {min(lacking)!r}")
    typed = {spec.name: golden.typed(arrays[spec.name], spec) for spec in inputs}
    if any(array.ndim < 2 for array in typed.values()):
        raise invalid("an array has sequences on its first axis and their steps on the second")
    sizes = {array.shape[:2] for array in typed.values()}
    if len(sizes) != 1 or 0 in min(sizes):
        raise invalid("its arrays differ in their number of sequences or steps, or there is none")
    ((count, steps),) = sizes
    return [
        [{spec.name: _item(typed[spec.name][at, step], spec) for spec in inputs} for step in range(steps)[:MOST_STEPS]]
        for at in range(count)
    ]


def _item(item: Array, spec: TensorSpec) -> Array:
    for array in (np.asarray(item), np.asarray(item)[np.newaxis]):
        if spec.fits(array.shape):
            return array
    raise invalid(f"a step of {spec.name!r} is {list(np.shape(item))}, and the model takes {list(spec.shape)}")


def invalid(what: str) -> ModelRejected:
    """A golden set that is none of sequences."""
    return ModelRejected(f"the golden set cannot be used: {what}"[:500], reason="golden_invalid")
