"""What the steps of a map take from files beside the model: matrices, and ONNX graphs as functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from changeover.errors import ModelRejected, ModelRunFailed
from changeover.runtime import session
from changeover.sequences import mapping
from changeover.sequences.mapping import Array, Graph, MapStep, States, Tools
from changeover.transport.control import WorkerSpec


def open_tools(steps: Sequence[MapStep], spec: WorkerSpec) -> Tools:
    """All that these steps need.

    Args:
        steps: of both ways.
        spec: of the version; its files lie beside the model.

    Raises:
        ModelRejected: `state_unfit`: a file is not there, or is no matrix; else as `session.load`.
    """
    matrices, graphs = mapping.files(steps)
    folder = Path(spec.path).parent
    return Tools(
        {name: _matrix(folder, name) for name in sorted(matrices)},
        {name: _graph(folder, name, spec) for name in sorted(graphs)},
    )


def _matrix(folder: Path, name: str) -> Array:
    try:
        matrix: Array = np.load(_beside(folder, name), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unfit(f"{name}: {error}") from error
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise _unfit(f"{name} is {matrix.dtype}{list(matrix.shape)}, and a matrix of floating-point numbers is needed")
    return matrix


def _graph(folder: Path, name: str, spec: WorkerSpec) -> Graph:
    path = _beside(folder, name)
    if not path.is_file():
        raise _unfit(f"there is no file {name}")
    loaded = session.load(msgspec.structs.replace(spec, path=str(path), optimization="off")).session
    takes = {one.name for one in loaded.inputs}

    def run(states: States) -> States:
        if not takes <= states.keys():
            raise _unfit(f"{name} takes {min(takes - states.keys())!r}, which is no state")
        try:
            made = loaded.run_feeds({given: states[given] for given in takes})
        except ModelRunFailed as error:
            raise _unfit(f"{name}: {error.message}") from error
        rest = {given: array for given, array in states.items() if given not in takes}
        return rest | {one.name: array for one, array in zip(loaded.outputs, made, strict=True)}

    return run


def _beside(folder: Path, name: str) -> Path:
    """A file of the version; never one elsewhere."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _unfit(f"{name} is not beside the model")
    return path


def _unfit(what: str) -> ModelRejected:
    return ModelRejected(f"sequence.map: {what}", reason="state_unfit")
