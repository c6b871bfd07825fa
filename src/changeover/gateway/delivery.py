"""The outputs that a client asked for, in the form it asked for: picked, and classified where it wants that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from changeover.errors import NotFound
from changeover.gateway.classification import PARAMETER, classified, require_classes, wanted
from changeover.protocol.oip import RequestedOutput

if TYPE_CHECKING:
    from changeover.gateway.router import Target
    from changeover.tensors import Tensor


def require_outputs(asked: Sequence[RequestedOutput], target: Target) -> None:
    """Refuse what cannot be answered, before any work is done for it.

    Raises:
        NotFound: `unknown_output`.
        InvalidRequest: a classification that cannot be made.
    """
    for output in asked:
        spec = target.output_names.get(output.name)
        if spec is None:
            known = ", ".join(target.output_names)
            raise NotFound(f"unknown output {output.name!r}; the model has {known}", reason="unknown_output")
        if PARAMETER in output.parameters and wanted(output):
            require_classes(output.name, spec.datatype)


def delivered(asked: Sequence[RequestedOutput], target: Target, outputs: Sequence[Tensor]) -> list[Tensor]:
    """The outputs in the order asked for.

    Raises:
        InvalidRequest: so many classes that making them would hold up all others.
    """
    by_name = {tensor.name: tensor for tensor in outputs}
    found = []
    for output in asked:
        tensor = by_name[output.name]
        if PARAMETER in output.parameters and (count := wanted(output)):
            tensor = classified(tensor, count, target.labels.of(output.name), by_row=target.batchable)
        found.append(tensor)
    return found
