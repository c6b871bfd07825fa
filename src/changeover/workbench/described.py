"""A model file as people compare it: what it takes and gives, what it is made of, what a run of one row costs."""

from __future__ import annotations

import ast
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from changeover.errors import ModelRejected
from changeover.interface.ports import Port, own_ports
from changeover.lifecycle.labels import read_labels
from changeover.lifecycle.signature import ModelSignature
from changeover.lifecycle.source import MODEL_FILE
from changeover.tensors import TensorSpec
from changeover.workbench.cost import multiplications

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

Array = npt.NDArray[Any]
_LABEL_KEYS: Final = ("labels", "classes", "names", "class_names")
_LABEL_FILES: Final = ("labels.txt", "classes.txt")
_LEAST: Final = 2
"""Elements of a constant that counts as a parameter: single numbers are part of the arithmetic."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor of weights."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: str
    values: Array = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Described:
    """One model.

    Attributes:
        inputs, outputs: of the model itself.
        labels: names of its classes, where it says them or a file beside it does.
        metadata: its own pairs, and who made it.
        opsets: version by domain.
        operators: how many nodes of each kind, graphs inside counted.
        parameters: by name.
        bytes: of the file and its external data.
        multiplications: of a run of one row, as far as shapes are known.
        ends: operator that makes each output.
    """

    path: str
    digest: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    labels: tuple[str, ...]
    metadata: dict[str, str]
    opsets: dict[str, int]
    ir: int
    operators: Counter[str]
    parameters: dict[str, Parameter]
    bytes: int
    multiplications: int
    ends: dict[str, str]

    @property
    def parameter_count(self) -> int:
        """Numbers in all parameters."""
        return sum(int(one.values.size) for one in self.parameters.values())


def model_path(given: str) -> Path:
    """The model file that a path names, itself or in a version's folder.

    Raises:
        ModelRejected: there is none (`source_unreadable`).
    """
    path = Path(given)
    path = path / MODEL_FILE if path.is_dir() else path
    if not path.is_file():
        raise ModelRejected(f"There is no model file {path}.", reason="source_unreadable")
    return path


def read(path: Path, *, weights: bool = True) -> ModelProto:
    """The model of a file, with its external data unless its `weights` are not wanted.

    Raises:
        ModelRejected: it is no ONNX file (`not_onnx`), or its external data is not there (`external_data_missing`).
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=weights)
    except DecodeError:
        raise ModelRejected(f"{path} is no ONNX file.", reason="not_onnx") from None
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelRejected(f"{path}: {error}", reason="external_data_missing") from None
    if not model.HasField("graph"):
        raise ModelRejected(f"{path} is no ONNX file: it holds no graph.", reason="not_onnx")
    return model


def described(path: Path, model: ModelProto) -> Described:
    """Look at a model.

    Raises:
        ModelRejected: its inputs or outputs are no tensors (`io_unsupported`), or its label file is none
            (`labels_unreadable`).
    """
    try:
        inputs, outputs = own_ports(model)
    except ValueError as error:
        raise ModelRejected(f"{path}: {error}.", reason="io_unsupported") from None
    parameters = {one.name: one for one in _parameters(model)}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    producer = f"{model.producer_name} {model.producer_version}".strip()
    size = path.stat().st_size
    return Described(
        path=str(path),
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        labels=_labels(metadata, path),
        metadata={**metadata, **({"producer": producer} if producer else {})},
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        ir=model.ir_version,
        operators=_operators(model),
        parameters=parameters,
        bytes=max(size, sum(one.values.nbytes for one in parameters.values())),
        multiplications=multiplications(model),
        ends=_ends(model),
    )


def signature(inputs: tuple[Port, ...] | list[Port], outputs: tuple[Port, ...] | list[Port]) -> ModelSignature:
    """What clients see, as the gate compares it."""
    return ModelSignature(tuple(map(_spec, inputs)), tuple(map(_spec, outputs)), False, 0)


def _spec(port: Port) -> TensorSpec:
    return TensorSpec(port.name, port.datatype, tuple(dim if isinstance(dim, int) else -1 for dim in port.dims))


def _parameters(model: ModelProto) -> Iterator[Parameter]:
    from onnx import numpy_helper

    for name, tensor in _tensors(model):
        try:
            values = numpy_helper.to_array(tensor)
        except (TypeError, ValueError):
            continue
        if values.size >= _LEAST and values.dtype != object:
            digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
            yield Parameter(name, tuple(values.shape), str(values.dtype), digest, values)


def _tensors(model: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Weights, whether they are listed as such or are constants."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _operators(model: ModelProto) -> Counter[str]:
    from onnx import NodeProto

    from changeover.lifecycle.walk import walk

    nodes = walk(model.graph, NodeProto)
    return Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes)


def _ends(model: ModelProto) -> dict[str, str]:
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    return {value.name: made.get(value.name, "") for value in model.graph.output}


def _labels(metadata: dict[str, str], path: Path) -> tuple[str, ...]:
    """Names of classes: as a list or numbered in the metadata, else one a line in a file beside the model."""
    for key in _LABEL_KEYS:
        if listed := _listed(metadata.get(key, "")):
            return listed
    for folder in (path.parent, path.parent.parent):
        for name in _LABEL_FILES:
            if (folder / name).is_file():
                found = tuple(read_labels((folder / name).resolve()))
                return found if any(found) else ()
    return ()


def _listed(text: str) -> tuple[str, ...]:
    value: Any = None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
            break
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    if isinstance(value, dict):
        numbered = {int(key): str(name) for key, name in value.items() if str(key).isdecimal()}
        return tuple(numbered[at] for at in sorted(numbered)) if len(numbered) == len(value) else ()
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    parts = [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
    return tuple(parts) if len(parts) > 1 else ()
