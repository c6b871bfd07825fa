"""Samples of requests from an `.npz`: for each input an array by its name, samples on the first axis."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from changeover.errors import ModelRejected
from changeover.runtime.session import Array
from changeover.tensors import Datatype, TensorSpec
from changeover.workbench.precision import MOST_SAMPLES

_MOST_BYTES: Final = 1 << 30


def read_samples(path: Path, inputs: Sequence[TensorSpec]) -> list[list[Array]]:
    """What `precision.converted` takes; arrays of the file that are no inputs, such as labels, are passed over.

    Args:
        path: of the file.
        inputs: of the model, in its order.

    Raises:
        ModelRejected: `no_calibration`: it cannot be read, or is not for this model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise _unusable(path, f"it unpacks to over {_MOST_BYTES >> 30} GiB")
        with np.load(path, allow_pickle=False) as archive:
            stored = {spec.name: archive[spec.name] for spec in inputs}
    except KeyError as error:
        raise _unusable(path, f"it has no array for the input {error.args[0]!r}") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise _unusable(path, str(error)) from None
    counts = {array.shape[:1] for array in stored.values()}
    if len(counts) != 1 or () in counts:
        raise _unusable(path, "its arrays differ in their number of samples")
    columns = [_items(stored[spec.name], spec) for spec in inputs]
    return [list(sample) for sample in zip(*columns, strict=True)]


def _items(array: Array, spec: TensorSpec) -> list[Array]:
    """An item is all of an input, or a row of it."""
    dtype = np.dtype(object) if spec.datatype is Datatype.BYTES else spec.datatype.numpy
    whole = spec.fits(array.shape[1:])
    made = [np.asarray(item, dtype) for item in array[:MOST_SAMPLES]]
    return made if whole else [item[None] for item in made]


def _unusable(path: Path, why: str) -> ModelRejected:
    return ModelRejected(f"{path} cannot be used as samples: {why}.", reason="no_calibration")
