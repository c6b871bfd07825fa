"""Two models side by side: what differs, whether clients of the old one can use the new one, and what it takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from changeover.errors import ModelRejected
from changeover.interface.merge import adapt
from changeover.interface.ports import Port, own_ports
from changeover.interface.steps import Step
from changeover.lifecycle.signature import differences
from changeover.workbench.described import Described, Parameter, described, model_path, read, signature
from changeover.workbench.proposal import Proposal, propose

Document = dict[str, Any]


def compare(old: str, new: str) -> Document:
    """All differences of two model files, or folders of versions, as one document.

    Raises:
        ModelRejected: one of them is no model.
    """
    paths = model_path(old), model_path(new)
    models = read(paths[0]), read(paths[1])
    before, after = (described(path, model) for path, model in zip(paths, models, strict=True))
    found = differences(signature(before.inputs, before.outputs), signature(after.inputs, after.outputs))
    proposal = propose(before, after)
    left = _left(before, models[1], proposal) if found or proposal.steps else []
    return {
        "old": _summary(before),
        "new": _summary(after),
        "compatible": not found,
        "differences": found,
        "inputs": _ports(before.inputs, after.inputs),
        "outputs": _ports(before.outputs, after.outputs),
        "labels": _labels(before.labels, after.labels),
        "metadata": _pairs(before.metadata, after.metadata),
        "opsets": _pairs(before.opsets, after.opsets),
        "operators": _pairs(before.operators, after.operators),
        "parameters": _parameters(before.parameters, after.parameters),
        "interface": [{"step": one.step, "certain": one.certain, "why": one.why} for one in proposal.steps],
        "undecided": proposal.undecided,
        "left": left,
    }


def _summary(model: Described) -> Document:
    return {
        "path": model.path,
        "sha256": model.digest,
        "bytes": model.bytes,
        "ir": model.ir,
        "nodes": model.operators.total(),
        "parameters": model.parameter_count,
        "multiplications": model.multiplications,
    }


def _left(before: Described, model: Any, proposal: Proposal) -> list[str]:
    """What clients of the old model would still trip over with the proposed steps."""
    from onnx import ModelProto

    copy = ModelProto()
    copy.CopyFrom(model)
    try:
        adapt(copy, msgspec.convert([one.step for one in proposal.steps], tuple[Step, ...]))
    except (ModelRejected, msgspec.ValidationError) as error:
        return [str(error).rstrip(".")]
    inputs, outputs = own_ports(copy)
    return differences(signature(before.inputs, before.outputs), signature(inputs, outputs))


def _ports(old: Iterable[Port], new: Iterable[Port]) -> list[Document]:
    before, after = ({port.name: _told(port) for port in ports} for ports in (old, new))
    return [
        {"name": name, "old": before.get(name), "new": after.get(name)} for name in dict.fromkeys([*before, *after])
    ]


def _told(port: Port) -> str:
    return f"{port.datatype.name}[{', '.join(str(dim) if isinstance(dim, int) else 'any' for dim in port.dims)}]"


def _labels(old: tuple[str, ...], new: tuple[str, ...]) -> Document:
    return {
        "old": len(old),
        "new": len(new),
        "same": old == new,
        "moved": [name for at, name in enumerate(new) if name in old and (at >= len(old) or old[at] != name)],
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
    }


def _pairs(old: dict[str, Any], new: dict[str, Any]) -> Document:
    """Both values of every key that does not have the same."""
    return {key: [old.get(key), new.get(key)] for key in sorted({**old, **new}) if old.get(key) != new.get(key)}


def _parameters(old: dict[str, Parameter], new: dict[str, Parameter]) -> Document:
    """Which tensors changed and by how much; a tensor with the same digest is the same one under any name."""
    same = [name for name in new if name in old and old[name].digest == new[name].digest]
    changed = [name for name in new if name in old and name not in same]
    gone = {name: old[name] for name in old if name not in new}
    come = {name: new[name] for name in new if name not in old}
    renamed = []
    for name, one in list(come.items()):
        twin = next((n for n, o in gone.items() if o.digest == one.digest and o.shape == one.shape), None)
        if twin is not None:
            renamed.append([twin, name])
            del gone[twin], come[name]
    return {
        "same": len(same),
        "changed": sorted((_changed(old[name], new[name]) for name in changed), key=lambda row: -row["relative"]),
        "renamed": renamed,
        "added": [_shape(one) for one in come.values()],
        "removed": [_shape(one) for one in gone.values()],
        "same_bytes": sum(new[name].values.nbytes for name in same),
        "bytes": sum(one.values.nbytes for one in new.values()),
    }


def _shape(one: Parameter) -> Document:
    return {"name": one.name, "shape": list(one.shape), "dtype": one.dtype}


def _changed(old: Parameter, new: Parameter) -> Document:
    """By how much: the length of the difference over that of the old tensor; 1 where they cannot be subtracted."""
    row: Document = {"name": new.name, "old": [old.dtype, list(old.shape)], "new": [new.dtype, list(new.shape)]}
    if old.shape != new.shape:
        return {**row, "relative": 1.0, "largest": None}
    before, after = (np.asarray(one.values, np.float64) for one in (old, new))
    apart = after - before
    length = float(np.linalg.norm(before))
    relative = float(np.linalg.norm(apart)) / length if length else 1.0
    largest = float(np.abs(apart).max())
    finite = np.isfinite([relative, largest])
    return {**row, "relative": relative if finite[0] else 1.0, "largest": largest if finite[1] else None}
