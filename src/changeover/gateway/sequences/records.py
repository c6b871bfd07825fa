"""The records of a batch's errands, beside its tensors in the slot (`sequences.wire`). What comes back is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from changeover.errors import Internal
from changeover.gateway.sequences.errand import Errand
from changeover.gateway.sequences.words import settled
from changeover.sequences.wire import POSITION, Status, pack_asks, unpack_told
from changeover.tensors import Datatype
from changeover.transport import channel
from changeover.transport.channel import Message, Part

if TYPE_CHECKING:
    from changeover.gateway.ticket import Batch


class Layout(NamedTuple):
    """Where a batch's inputs go: descriptors as they travel, start and step (0: behind one another) a tensor."""

    packed: bytes
    starts: list[int]
    steps: list[int]
    need: int


EMPTY: Final = Layout(b"", [], [], 0)


def packed_records(batch: Batch, inputs: Layout) -> tuple[Layout, bytes]:
    """The layout with the records at its end, and the records."""
    records = pack_asks([ticket.ask for ticket in batch.tickets if isinstance(ticket, Errand)])
    size = len(records)
    part = Part(POSITION, Datatype.UINT8, (size,), inputs.need, size, channel.aligned(size))
    packed = inputs.packed + channel.pack_parts([part])
    return inputs._replace(packed=packed, need=inputs.need + size), records


def take_records(batch: Batch, body: bytes, count: int, memory: memoryview) -> tuple[bytes, int]:
    """Give each errand what it was told; returns the descriptors of the outputs, and their number.

    Raises:
        Internal: not one answer each, or outside the memory (reason `channel_malformed`).
    """
    part = channel.unpack_parts(body, count)[-1] if count else None
    if part is None or part.position != POSITION or part.datatype != Datatype.UINT8 or len(part.shape) != 1:
        raise Internal("an answer without its records", reason="channel_malformed")
    channel.check_part(part, 1, 1, len(memory))
    layout = batch.tickets[0].target.sequence
    largest = layout.told_bytes if layout is not None else 0
    told = unpack_told(memory[part.offset : part.offset + part.nbytes], len(batch.tickets), largest)
    if len(told) != len(batch.tickets):
        raise Internal(f"{len(told)} answers for {len(batch.tickets)} records", reason="channel_malformed")
    for ticket, said in zip(batch.tickets, told, strict=True):
        if isinstance(ticket, Errand):
            ticket.told = said
    batch.ran = batch.tickets[0].kind is Message.STEP and all(said.status is Status.OK for said in told)
    batch.settled = batch.ran and all(map(settled, told))
    return body[: len(body) - len(channel.pack_parts([part]))], count - 1
