"""What clients see of a model, and whether a candidate may stand in for the active version. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from changeover.errors import ModelRejected
from changeover.sequences.declared import Declared, resolve
from changeover.tensors import TensorSpec


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """A model's inputs and outputs, and where it comes from.

    Attributes:
        inputs: that a request must bring, in the model's order.
        outputs: that an answer may hold, in the model's order.
        batchable: the first dimension of every input and output is free and the same, so rows may be put together.
        opset: version of the standard operators it was made for.
        producer: name and version of the program that wrote it, `""` when it does not say.
        metadata: the model's own key and value pairs.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batchable: bool
    opset: int
    producer: str = ""
    metadata: dict[str, str] = field(default_factory=dict, hash=False)


def public(signature: ModelSignature, declared: Declared | None) -> ModelSignature:
    """What clients see of a model: without the states and control inputs that its plan declares.

    Raises:
        ModelRejected: `sequence_mismatch`: what is declared does not fit the model.
    """
    if declared is None:
        return signature
    found = resolve(declared, signature.inputs, signature.outputs)
    return replace(
        signature, inputs=tuple(found.inputs), outputs=tuple(found.outputs), batchable=found.batchable
    )  # fmt: skip


def require_compatible(active: ModelSignature, candidate: ModelSignature) -> None:
    """Let a candidate pass whose answers every client of the active version can use.

    Raises:
        ModelRejected: `signature_changed`, with all differences.
    """
    found = differences(active, candidate)
    if found:
        raise ModelRejected(
            f"The signature differs from the active version's: {'; '.join(found)}.", reason="signature_changed"
        )


def differences(active: ModelSignature, candidate: ModelSignature) -> list[str]:
    """What a client of the active version would trip over, as sentences without a full stop.

    Inputs: the same names and datatypes, each dimension equal or free in the candidate. Outputs: all of the active
    version's, same datatype and rank, no dimension fixed to another size; a free first dimension stays free. More
    outputs are no difference, more inputs are one.
    """
    return [*_input_differences(active, candidate), *_output_differences(active, candidate)]


def _input_differences(active: ModelSignature, candidate: ModelSignature) -> list[str]:
    old = {spec.name: spec for spec in active.inputs}
    new = {spec.name: spec for spec in candidate.inputs}
    found = [f"input {name!r} is missing" for name in old if name not in new]
    found += [f"input {name!r} is new, and no client sends it" for name in new if name not in old]
    for name in old.keys() & new.keys():
        before, after = old[name], new[name]
        if before.datatype != after.datatype:
            found.append(f"input {name!r} is {after.datatype.name} instead of {before.datatype.name}")
        if not _accepts(before.shape, after.shape):
            found.append(f"input {name!r} takes {_shape(after)}, not all of {_shape(before)}")
    return sorted(found)


def _output_differences(active: ModelSignature, candidate: ModelSignature) -> list[str]:
    new = {spec.name: spec for spec in candidate.outputs}
    found: list[str] = []
    for before in active.outputs:
        after = new.get(before.name)
        if after is None:
            found.append(f"output {before.name!r} is missing")
            continue
        if before.datatype != after.datatype:
            found.append(f"output {before.name!r} is {after.datatype.name} instead of {before.datatype.name}")
        if not _resembles(before.shape, after.shape):
            found.append(f"output {before.name!r} is {_shape(after)} instead of {_shape(before)}")
    return sorted(found)


def _accepts(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    return len(before) == len(after) and all(b in (-1, a) for a, b in zip(before, after, strict=True))


def _resembles(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    if len(before) != len(after) or (before[:1] == (-1,) and after[:1] != (-1,)):
        return False
    return all(a == b or -1 in (a, b) for a, b in zip(before, after, strict=True))


def _shape(spec: TensorSpec) -> str:
    return "[" + ", ".join("any" if size == -1 else str(size) for size in spec.shape) + "]"
