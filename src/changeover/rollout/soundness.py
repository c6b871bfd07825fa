"""Is what a worker or prover told of a version's inputs and outputs possible at all? Pure.

Gateways build their tables of it, and who told it ran other people's files.
"""

from __future__ import annotations

from changeover.errors import ModelRejected
from changeover.lifecycle.signature import ModelSignature
from changeover.tensors import Datatype
from changeover.transport.channel import MAX_DIMS
from changeover.transport.control import Signature


def sound(told: Signature) -> ModelSignature:
    """The signature as it can be compared with another one.

    Raises:
        ModelRejected: no model has such inputs and outputs (`signature_unsound`).
    """
    for entry in (*told.inputs, *told.outputs):
        if entry.datatype not in Datatype.__members__:
            raise _unsound(f"{entry.name!r} is {entry.datatype!r}, which is no datatype of the protocol")
        if len(entry.shape) > MAX_DIMS or any(size < -1 for size in entry.shape):
            raise _unsound(f"{entry.name!r} has an impossible shape")
    for entries in (told.inputs, told.outputs):
        if len({entry.name for entry in entries}) < len(entries):
            raise _unsound("a name comes twice")
    if told.batchable and not (told.inputs and all(entry.shape[:1] == [-1] for entry in told.inputs)):
        raise _unsound("it is said to take batches, and not every input has a free first dimension")
    inputs, outputs = tuple(e.spec() for e in told.inputs), tuple(e.spec() for e in told.outputs)
    return ModelSignature(inputs, outputs, told.batchable, 0)


def _unsound(what: str) -> ModelRejected:
    return ModelRejected(f"the signature that was told is unsound: {what}"[:500], reason="signature_unsound")
