"""The outputs that a client asked for, as it asked for them: classified, or in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from changeover.errors import InvalidRequest
from changeover.gateway.classification import PARAMETER, classified, require_classes, wanted
from changeover.gateway.shared_memory import Regions, not_enabled
from changeover.protocol.oip import RequestedOutput
from changeover.protocol.oip_places import Placed

if TYPE_CHECKING:
    from changeover.gateway.router import Target
    from changeover.tensors import Tensor


def require_outputs(asked: Sequence[RequestedOutput], target: Target, regions: Regions | None) -> None:
    """Refuse what cannot be answered, before any work is done for it.

    Raises:
        InvalidRequest: `unknown_output`, a classification that cannot be made, or a place that is none.
    """
    for output in asked:
        spec = target.output_names.get(output.name)
        if spec is None:
            known = ", ".join(target.output_names)
            raise InvalidRequest(f"unknown output {output.name!r}; the model has {known}", reason="unknown_output")
        if PARAMETER in output.parameters and wanted(output):
            require_classes(output.name, spec.datatype)
            if output.place is not None:
                raise InvalidRequest("classes are not written to shared memory", reason="not_classifiable")
        if output.place is not None:
            if regions is None:
                raise not_enabled()
            regions.require(output.place)


def delivered(
    asked: Sequence[RequestedOutput], target: Target, outputs: Sequence[Tensor], regions: Regions | None
) -> list[Tensor]:
    """The outputs asked for, in the order in which the model has them.

    Raises:
        InvalidRequest: so many classes that making them would hold up all others; a place that is too small.
        Overloaded: there is no memory for what is written there.
    """
    by_name = {output.name: output for output in asked}
    found: list[Tensor] = []
    for tensor in outputs:
        output = by_name.get(tensor.name)
        if output is None:
            continue
        if PARAMETER in output.parameters and (count := wanted(output)):
            found.append(classified(tensor, count, target.labels.of(output.name), by_row=target.batchable))
        elif output.place is not None and regions is not None:
            place = regions.put(output.place, tensor.data)
            found.append(Placed(tensor.name, tensor.datatype, tensor.shape, b"", place))
        else:
            found.append(tensor)
    return found
