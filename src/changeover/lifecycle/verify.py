"""Verify a sealed ONNX file without the runtime: format, versions, external data, operators, inputs and outputs.

The file is hostile until proven otherwise, and the parsers are C++: call this in a process that may die. Only the
`onnx` package is used, imported when it is needed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from changeover.errors import ModelRejected
from changeover.lifecycle.external import check_external_data
from changeover.lifecycle.signature import ModelSignature
from changeover.lifecycle.source import MODEL_FILE
from changeover.lifecycle.walk import walk
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.channel import MAX_DIMS

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto, ValueInfoProto

MAX_IR: Final = 13
"""Newest format of the file that ONNX Runtime 1.31 reads."""

MAX_OPSETS: Final = {"": 26, "ai.onnx.ml": 5, "com.microsoft": 1}
"""Operator domains that ONNX Runtime 1.31 runs, with the newest version of each that it takes as released."""

_RUNTIMES_OWN: Final = "com.microsoft"
"""The `onnx` package does not know this domain's operators: the session says whether they exist."""

_RUNTIMES_STANDARD: Final = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
"""ONNX Runtime has these in the standard domain whatever its version, and its optimiser and exporters write them so."""

_APART: Final = "changeover.apart"
_MAX_BYTES: Final = (1 << 31) - 1
_ORT_FORMAT: Final = b"ORTM"
_MADE_UP: Final = re.compile(r"unk__\d+")
_DETAIL: Final = 400
_MAX_TENSORS: Final = 150
"""Inputs, and outputs: of so many with 16 dimensions each the descriptors still fit a channel's message."""


def verify(folder: Path, *, custom_ops: bool = False) -> ModelSignature:
    """Check the model file of a sealed folder; its signature.

    Args:
        folder: `Artifact.folder`, with `model.onnx` and its external data.
        custom_ops: operators of domains that nobody knows may exist: the session, with its libraries, says whether.

    Raises:
        ModelRejected: `not_onnx`, `ort_format`, `model_too_large`, `ir_unsupported`, `opset_unsupported`,
            `external_data_*` (see `external.py`), `operator_unknown`, `duplicate_names`, `checker_failed`,
            `io_unsupported`.
    """
    path = folder / MODEL_FILE
    model = _parse(path)
    _check_versions(model)
    check_external_data(model, folder)
    _check_operators(model, custom_ops=custom_ops)
    _check_names(model.graph)
    own = _runtimes_standard(model)
    if own:
        _set_apart(model, own)
    _run_checker(model if own else path)
    return _signature(model)


def _parse(path: Path) -> ModelProto:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    if path.stat().st_size > _MAX_BYTES:
        raise ModelRejected(
            f"{MODEL_FILE} is over 2 GiB, which the format cannot hold: keep the weights as external data.",
            reason="model_too_large",
        )
    data = path.read_bytes()
    if data[4:8] == _ORT_FORMAT:
        raise ModelRejected(
            f"{MODEL_FILE} is in ONNX Runtime's own .ort format: bring the ONNX file it was made from.",
            reason="ort_format",
        )
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise _not_onnx("it is cut off or of another format") from error
    if not model.ir_version or not model.HasField("graph"):
        raise _not_onnx("it is empty" if not data else "it holds no graph")
    return model


def _check_versions(model: ModelProto) -> None:
    if model.ir_version > MAX_IR:
        raise ModelRejected(
            f"The file's IR version {model.ir_version} is newer than {MAX_IR}, the newest supported.",
            reason="ir_unsupported",
        )
    for imports in (model.opset_import, *(function.opset_import for function in model.functions)):
        _check_opsets(imports)


def _check_opsets(imports: Iterable[OperatorSetIdProto]) -> None:
    for entry in imports:
        # Converters import domains that they do not use: an unknown one is refused only with an operator in it.
        newest = MAX_OPSETS.get(_domain(entry.domain))
        if newest is not None and not 1 <= entry.version <= newest:
            raise ModelRejected(
                f"Operator set {entry.domain or 'ai.onnx'} {entry.version} is not supported, {newest} is the newest: "
                "export the model for an older one.",
                reason="opset_unsupported",
            )


def _check_operators(model: ModelProto, *, custom_ops: bool) -> None:
    from onnx import NodeProto

    own = {(_domain(function.domain), function.name) for function in model.functions}
    graphs = [model.graph, *(part for info in model.training_info for part in (info.initialization, info.algorithm))]
    scopes = [(model.opset_import, graph) for graph in graphs]
    scopes += [(function.opset_import, function) for function in model.functions]
    for imports, scope in scopes:
        opsets = {_domain(entry.domain): entry.version for entry in imports}
        # One node for each operator is enough: models have thousands of nodes and a dozen operators.
        for domain, operator in {(_domain(node.domain), node.op_type) for node in walk(scope, NodeProto)} - own:
            if not custom_ops or domain in MAX_OPSETS or domain not in opsets:
                _check_operator(domain, operator, opsets)


def _check_operator(domain: str, operator: str, opsets: dict[str, int]) -> None:
    from onnx import defs

    known = domain in opsets and domain in MAX_OPSETS
    if known and domain != _RUNTIMES_OWN:
        known = defs.has(operator, opsets[domain], domain) or (not domain and operator in _RUNTIMES_STANDARD)
    if not known:
        raise ModelRejected(
            f"Operator {domain or 'ai.onnx'}::{operator} does not exist in the operator sets that the model imports.",
            reason="operator_unknown",
        )


def _runtimes_standard(model: ModelProto) -> list[NodeProto]:
    """Nodes for which onnx.checker would refuse the file: ONNX Runtime has the operator, and the standard has not."""
    from onnx import NodeProto, defs

    standard = next((entry.version for entry in model.opset_import if not _domain(entry.domain)), 1)
    missing = {operator for operator in _RUNTIMES_STANDARD if not defs.has(operator, standard)}
    nodes = walk(model.graph, NodeProto) if missing else ()
    return [node for node in nodes if node.op_type in missing and not _domain(node.domain)]


def _set_apart(model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Make of a parsed file one that onnx.checker can check in all else: it knows nothing of these nodes' new domain.

    It is changed in place, and its weights, which are checked one by one, are taken out: the checker would copy them,
    and look for those outside the file in another folder.
    """
    from onnx import GraphProto, TensorProto

    for node in nodes:
        node.domain = _APART
    model.opset_import.add(domain=_APART, version=1)
    weights = [tensor for graph in walk(model, GraphProto) for tensor in graph.initializer]
    weights += [tensor for tensor in walk(model, TensorProto) if tensor.data_location == TensorProto.EXTERNAL]
    for tensor in weights:
        if tensor.data_location != TensorProto.EXTERNAL:
            _run_checker(tensor)
        name, datatype = tensor.name, tensor.data_type
        tensor.Clear()
        tensor.name, tensor.data_type = name, datatype
        tensor.dims.append(0)


def _check_names(graph: GraphProto) -> None:
    for kind, values in (("input", graph.input), ("output", graph.output), ("initializer", graph.initializer)):
        twice = [name for name, count in Counter(value.name for value in values).items() if count > 1]
        if twice or any(not value.name for value in values):
            raise ModelRejected(
                f"The graph has {kind} {twice[0]!r} twice." if twice else f"The graph has an {kind} without a name.",
                reason="duplicate_names" if twice else "checker_failed",
            )


def _run_checker(what: Path | ModelProto | TensorProto) -> None:
    from onnx import TensorProto, checker

    try:
        if isinstance(what, TensorProto):
            checker.check_tensor(what)
        else:
            checker.check_model(what)
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        detail = " ".join(str(error).split())[:_DETAIL]
        raise ModelRejected(f"onnx.checker refuses the file: {detail}", reason="checker_failed") from error


def _signature(model: ModelProto) -> ModelSignature:
    graph = model.graph
    inner = {tensor.name for tensor in graph.initializer} | {tensor.values.name for tensor in graph.sparse_initializer}
    # Files before IR 4 list their weights among the inputs; later ones may, as defaults that nobody needs to send.
    inputs = [value for value in graph.input if value.name not in inner]
    if not inputs or not graph.output:
        raise ModelRejected("The model has no inputs or no outputs.", reason="io_unsupported")
    for kind, values in (("inputs", inputs), ("outputs", list(graph.output))):
        if len(values) > _MAX_TENSORS or any(len(v.type.tensor_type.shape.dim) > MAX_DIMS for v in values):
            raise _io(f"The model's {kind} are more than {_MAX_TENSORS}, or of more than {MAX_DIMS} dimensions.")
    return ModelSignature(
        inputs=tuple(_spec(value, "input") for value in inputs),
        outputs=tuple(_spec(value, "output") for value in graph.output),
        batchable=_batchable([*inputs, *graph.output]),
        opset=next((entry.version for entry in model.opset_import if not _domain(entry.domain)), 1),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def _spec(value: ValueInfoProto, kind: str) -> TensorSpec:
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        raise _io(f"The {kind} {value.name!r} is no tensor with a known number of dimensions.")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    if any(dim.HasField("dim_value") and dim.dim_value < 0 for dim in tensor.shape.dim):
        raise _io(f"The {kind} {value.name!r} has a negative dimension.")
    return TensorSpec(value.name, _datatype(value.type, f"{kind} {value.name!r}"), shape)


def _datatype(declared: TypeProto, what: str) -> Datatype:
    from onnx import TensorProto

    number = declared.tensor_type.elem_type
    name = TensorProto.DataType.Name(number).lower() if number in TensorProto.DataType.values() else str(number)
    try:
        return Datatype.from_onnx(f"tensor({name})")
    except ValueError as error:
        raise _io(f"The {what} has elements of type {name}, for which the protocol has no datatype.") from error


def _batchable(values: list[ValueInfoProto]) -> bool:
    """Whether the first dimension of all is free, and the same one where it has a name.

    Names that a converter made up for lack of a better (`unk__12`) count as none.
    """
    names: set[str] = set()
    for value in values:
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].HasField("dim_value"):
            return False
        if dims[0].dim_param and not _MADE_UP.fullmatch(dims[0].dim_param):
            names.add(dims[0].dim_param)
    return len(names) <= 1


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _not_onnx(why: str) -> ModelRejected:
    return ModelRejected(f"{MODEL_FILE} is no ONNX file: {why}.", reason="not_onnx")


def _io(sentence: str) -> ModelRejected:
    return ModelRejected(sentence, reason="io_unsupported")
