"""Inputs for a load run: from a file, or random ones of the shapes that a model declares."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from changeover.cli.exits import Usage
from changeover.tensors import Datatype

Array = NDArray[Any]

_COUNT = 16
_MOST_BYTES = 64 << 20
_EXPECTED = "expected_"


@dataclass(frozen=True, slots=True)
class Samples:
    """What a load run sends.

    Attributes:
        inputs: by name, samples on the first axis.
        expected: by version, the right values of the first output.
        batched: whether a request puts a first dimension of 1 in front of a sample.
    """

    inputs: dict[str, Array]
    expected: dict[str, Array] = field(default_factory=dict)
    batched: bool = True


def read_samples(declared: Sequence[dict[str, Any]], file: Path | None) -> Samples:
    """Return samples for the inputs a model declares (`name`, `datatype`, `shape`).

    Raises:
        Usage: the file does not hold what the model needs, or the model takes what cannot be made up.
    """
    batched = all(tensor["shape"] and tensor["shape"][0] == -1 for tensor in declared)
    if file is not None:
        return _from_file(declared, file, batched)
    return Samples({tensor["name"]: _random(tensor, batched) for tensor in declared}, batched=batched)


def _from_file(declared: Sequence[dict[str, Any]], file: Path, batched: bool) -> Samples:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise Usage(f"--input: {file} cannot be read as an .npz without pickles ({error})") from None
    missing = [tensor["name"] for tensor in declared if tensor["name"] not in arrays]
    if missing:
        raise Usage(f"--input: {file} lacks the input {', '.join(missing)}; it holds {', '.join(arrays) or 'nothing'}")
    inputs = {
        tensor["name"]: arrays[tensor["name"]].astype(Datatype[tensor["datatype"]].numpy, copy=False)
        if tensor["datatype"] != "BYTES"
        else arrays[tensor["name"]]
        for tensor in declared
    }
    expected = {name.removeprefix(_EXPECTED): a for name, a in arrays.items() if name.startswith(_EXPECTED)}
    return Samples(inputs, expected, batched)


def _random(tensor: dict[str, Any], batched: bool) -> Array:
    """Return up to 16 random samples of one input; a free dimension becomes 1."""
    datatype = Datatype[tensor["datatype"]]
    declared = tensor["shape"][1:] if batched else tensor["shape"]
    shape = [1 if size < 0 else size for size in declared]
    count = max(1, min(_COUNT, _MOST_BYTES // max(1, math.prod(shape) * 8)))
    rng = np.random.default_rng(1)
    if datatype is Datatype.BF16:
        raise Usage(f"input {tensor['name']}: BF16 numbers cannot be made up; this model needs another client")
    if datatype is Datatype.BYTES:
        return np.full([count, *shape], "text")
    if datatype.numpy.kind == "f":
        return rng.random([count, *shape], np.float32).astype(datatype.numpy)
    top = 2 if datatype is Datatype.BOOL else 100
    return rng.integers(0, top, [count, *shape]).astype(datatype.numpy)
