"""What loadings are told of a sequence, and what one without a worker says: its slab outlives all its workers. Pure."""

from __future__ import annotations

import logging
from dataclasses import replace
from time import monotonic_ns
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from changeover.errors import Internal, ModelRejected
from changeover.gateway.sequences import course
from changeover.sequences.back import without_worker
from changeover.sequences.saved import NO_DIGEST, Flag, peek, unpack
from changeover.sequences.slab import Mark, Slab
from changeover.sequences.wire import Ask, Status, Told, Verb, request_digest

if TYPE_CHECKING:
    from changeover.gateway.router import Target
    from changeover.gateway.sequences.course import Action, Carried
    from changeover.gateway.sequences.request import Request
    from changeover.gateway.ticket import Ticket
    from changeover.sequences.declared import Layout
    from changeover.sequences.slab import Record

_TOMBSTONES: Final = {Mark.ENDED: Status.ENDED, Mark.EXPIRED: Status.EXPIRED}
_MOST_GENERATION: Final = 1 << 62
SETTLED: Final = 16
"""Steps after a move until a sequence's steps are evidence of the version that runs them."""
_PLACES: Final[WeakKeyDictionary[Slab, dict[bytes, int]]] = WeakKeyDictionary()
log = logging.getLogger("changeover.gateway")


def slab_of(fd: int, loading: int, layout: Layout | None) -> Slab | None:
    """The slab of a loading, to be read; None where the memory is not that of its sequences, which is told."""
    try:
        return Slab(fd, expected=layout.geometry) if layout is not None else None
    except (Internal, OSError, ValueError) as error:
        log.error("the state slab of loading %d cannot be read: %s", loading, error)  # noqa: TRY400
        return None


def ask_of(action: Action, request: Request, ticket: Ticket | None) -> Ask:
    """What the worker is told; `ticket`: the client's, where a step of it is run."""
    line, token, carried = request.line, request.token, action.carried
    if action.verb is course.Verb.FETCH:
        return Ask(Verb.RELEASE, token, line.key, line.tag, to=action.to)
    flags, digest, generation, body = Flag(0), NO_DIGEST, 0, b""
    if carried is not None:
        generation, body = carried.generation, released(carried)
        flags = Flag.STAYS if carried.stays else Flag(0)
    if ticket is None:
        return Ask(Verb.IMPORT, token, line.key, line.tag, flags, digest, generation, 0, body)
    if action.start:
        flags |= Flag.START
    if request.asked is not None and request.asked.end:
        flags |= Flag.END
    digest = request_digest(ticket.asked.id, ticket.asked.inputs)
    return Ask(Verb.STEP, token, line.key, line.tag, flags, digest, generation, 0, body)


def settled(told: Told) -> bool:
    """Whether what a step takes and gives is evidence of the version that ran it: its own steps made the state."""
    return told.since >= min(told.steps, SETTLED)


def dead(memory: Slab | None, key: bytes, idle: float) -> Told:
    """As the answer to RELEASE. Each gateway reads the same, so two of them may carry it on at once.

    Args:
        memory: the loading's slab.
        key: of the sequence.
        idle: seconds after which a released state has expired, as the worker would say.
    """
    try:
        record = _lying(memory, key) if memory is not None else None
        summary = record.summary if record is not None else None
    except Internal:
        record = summary = None  # a worker runs other people's files: what makes no sense is nothing
    if record is None or summary is None:
        return Told(Status.UNKNOWN)
    generation = summary.generation + 1
    if record.mark is Mark.LIVE:
        return Told(Status.OK, generation, summary.since, summary.steps, 0, record.data)
    if record.mark is Mark.RELEASED and record.last_use + idle * 1e9 < monotonic_ns():
        return Told(Status.EXPIRED, summary.generation)
    if record.mark is Mark.RELEASED:
        return Told(Status.MOVED, generation, summary.since, summary.steps, record.moved_to, record.data)
    return Told(_TOMBSTONES[record.mark], summary.generation)


def _lying(memory: Slab, key: bytes) -> Record | None:
    """The record in a slab that nobody writes any more: its slots are looked through once, not at every step."""
    places = _PLACES.get(memory)
    if places is None:
        places = _PLACES[memory] = memory.places()
    slot = places.get(key)
    return memory.record(slot) if slot is not None else None


def handed(told: Told, source: Target, goal: int) -> Told | None:
    """What `dead` found as its worker would have handed it out; None where only a worker could.

    A newer version hands a state back to an older one as that one knows it (`back.without_worker`).
    """
    to = told.moved_to if told.status is Status.MOVED else goal
    if not told.body or to > source.loading or source.sequence is None:
        return told
    try:
        saved = without_worker(unpack(told.body), source.sequence)
    except ModelRejected:
        saved = None
    return told._replace(body=saved.pack()) if saved is not None else None


def released(carried: Carried) -> bytes:
    """The state with the generation that it has where it goes.

    Raises:
        Internal: the bytes make no sense, or the generation is none that a machine's clock gives (`state_malformed`).
            Far below what answers may say (`wire`), so the loading that takes it may count on.
    """
    if carried.generation >= _MOST_GENERATION:
        raise Internal(f"a state of generation {carried.generation}", reason="state_malformed")
    if peek(carried.body).generation == carried.generation:
        return carried.body
    return replace(unpack(carried.body), generation=carried.generation).pack()
