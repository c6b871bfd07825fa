"""Live sequences of a model, for operators: listed, shown, ended, taken out and brought in."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import Iterator
from time import monotonic_ns
from typing import Any

from changeover.controller.drivers import Drivers
from changeover.controller.sequence_bodies import (
    FORM,
    Identity,
    SequenceChanged,
    SequenceExport,
    SequenceList,
    SequenceRow,
    SequenceShown,
    TensorBody,
)
from changeover.controller.visits import Visits
from changeover.errors import ChangeoverError, Conflict, Internal, InvalidRequest, ModelRejected, NotFound
from changeover.rollout.driver import Driver
from changeover.rollout.loading import Loading
from changeover.sequences import saved as saved_steps
from changeover.sequences.declared import Layout
from changeover.sequences.mapping import arrays
from changeover.sequences.moves import unfit
from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token
from changeover.sequences.slab import Brief, Mark, Record, Slab
from changeover.sequences.wire import Ask, Status, Told, Verb, identity, sequence_key, sequence_tag
from changeover.tensors import Tensor

log = logging.getLogger("changeover.controller")


class Sequences:
    """What is asked about them.

    Args:
        drivers: of the models.
        visits: to the workers and their slabs.
    """

    def __init__(self, drivers: Drivers, visits: Visits) -> None:
        self._drivers = drivers
        self._visits = visits

    async def listed(self, model: str) -> SequenceList:
        """All live sequences of a model.

        Raises:
            NotFound: no such model (`model_not_found`), or its requests have no sequences (`no_sequences`).
            Unavailable: a worker is away (`worker_away`).
        """
        rows, most = [], {}
        for loading, layout in self._loadings(model):
            most[str(loading.version)] = layout.max
            slab = await self._slab(loading, layout)
            rows += await asyncio.to_thread(_rows, slab, loading) if slab is not None else []
        rows.sort(key=lambda row: (isinstance(row.id, str), row.id))
        return SequenceList(model=model, live=len(rows), max=most, sequences=rows)

    async def show(self, model: str, name: Identity) -> SequenceShown:
        """One live sequence. Raises as `listed`, and NotFound (`sequence_not_found`)."""
        record, loading = await self._found(model, name)
        saved = record.saved
        states = [_told(tensor) for tensor in saved.states]
        return SequenceShown(
            model=model,
            sequence=_row(record, loading, sum(len(state.data) for state in saved.states)),
            states=states,
            kept=len(saved.inputs),
        )

    async def end(self, model: str, name: Identity) -> SequenceChanged:
        """End a sequence without a step. Raises as `show`."""
        record, loading = await self._found(model, name)
        (told,) = await self._visits.ask(loading.number, [Ask(Verb.FORGET, Token(), record.key, record.tag)])
        if told.status is not Status.OK:
            raise _unknown(name, model)
        return SequenceChanged(model=model, id=name, version=str(loading.version), became="ended")

    async def export(self, model: str, name: Identity) -> SequenceExport:
        """One live sequence with its state. Raises as `show`."""
        record, loading = await self._found(model, name)
        states = [_told(tensor) for tensor in record.saved.states]
        return SequenceExport(
            form=FORM, model=model, id=name, version=str(loading.version), digest=loading.digest,
            steps=record.summary.steps, states=states, saved=base64.b64encode(record.data).decode(),
        )  # fmt: skip

    async def bring(self, model: str, document: SequenceExport) -> SequenceChanged:
        """Bring an exported sequence into the active version.

        Raises:
            InvalidRequest: no exported sequence (`sequence_malformed`), or not one of this version's (`state_unfit`).
            Conflict: the sequence lives (`sequence_live`), or the version has no room for it (`sequence_no_room`).
            Unavailable: as `listed`.
        """
        loading, layout = self._active(model)
        saved = await asyncio.to_thread(_read, document, layout)
        tag = _tag(document.id)
        key = sequence_key(tag)
        for other in self._loadings(model):
            if await self._live(*other, key) is not None:
                raise Conflict(f"sequence {document.id!r} of {model} lives; end it first", reason="sequence_live")
        generation = max(monotonic_ns(), saved.generation + 1)  # younger than whatever is remembered here
        packed = Saved(Token(), NO_DIGEST, Flag(0), generation, 0, saved.steps, saved.states, (), saved.inputs).pack()
        asked = Ask(Verb.IMPORT, Token(), key, tag, generation=generation, body=packed)
        (told,) = await self._visits.ask(loading.number, [asked])
        _require(told, document.id)
        return SequenceChanged(model=model, id=document.id, version=str(loading.version), became="imported")

    async def look(self, driver: Driver) -> None:
        """Have the slabs of a model at hand for `counts`; what cannot be had now is left out."""
        loadings = [loading for loading, _ in _with_sequences(driver)]
        asked = (self._visits.slab(loading.number) for loading in loadings)
        for loading, found in zip(loadings, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if isinstance(found, ChangeoverError):
                log.info("the sequences of %r cannot be counted: %s", loading, found.message)
            elif isinstance(found, BaseException):
                raise found

    def counts(self, driver: Driver) -> dict[str, Any] | None:
        """Live sequences by version, as far as their slabs are known; None of a model without sequences."""
        pairs = list(_with_sequences(driver))
        if not pairs:
            return None
        live: dict[str, int] = {}
        for loading, _ in pairs:
            slab = self._visits.known(loading.number)
            if slab is not None:
                live[str(loading.version)] = live.get(str(loading.version), 0) + slab.live
        return {"live": sum(live.values()), "by_version": live}

    # -- parts ---------------------------------------------------------------------------------------------

    def _loadings(self, model: str) -> list[tuple[Loading, Layout]]:
        found = list(_with_sequences(self._drivers.known(model)))
        if not found:
            raise NotFound(f"{model} has no sequences: its plan has no section 'sequence'", reason="no_sequences")
        return found

    def _active(self, model: str) -> tuple[Loading, Layout]:
        active = self._drivers.known(model).active
        for loading, layout in self._loadings(model):
            if loading is active:
                return loading, layout
        raise NotFound(f"no version of {model} serves that takes sequences", reason="no_sequences")

    async def _slab(self, loading: Loading, layout: Layout) -> Slab | None:
        slab = await self._visits.slab(loading.number)
        if slab is not None and slab.geometry != layout.geometry:  # its worker writes what it likes
            raise Internal(f"the state slab of {loading!r} has another geometry than it had", reason="slab_malformed")
        return slab

    async def _live(self, loading: Loading, layout: Layout, key: bytes) -> Record | None:
        slab = await self._slab(loading, layout)
        record = await asyncio.to_thread(slab.find, key) if slab is not None else None
        return record if record is not None and record.mark is Mark.LIVE else None

    async def _found(self, model: str, name: Identity) -> tuple[Record, Loading]:
        key = sequence_key(_tag(name))
        for loading, layout in self._loadings(model):
            record = await self._live(loading, layout, key)
            if record is not None:
                return record, loading
        raise _unknown(name, model)


def _with_sequences(driver: Driver) -> Iterator[tuple[Loading, Layout]]:
    for loading in list(driver.loader.live.values()):  # the caller may wait between two, and a rollout goes on
        if loading.entry is not None and loading.entry.sequence is not None:
            yield loading, loading.entry.sequence


def _rows(slab: Slab, loading: Loading) -> list[SequenceRow]:
    """The live sequences; one whose id is none is left out, for a worker writes what it likes."""
    found = []
    for brief in slab.briefs():
        if brief.mark is Mark.LIVE:
            with contextlib.suppress(ValueError):
                sequence_tag(identity(brief.tag))
                found.append(_row(brief, loading, brief.state_bytes))
    return found


def _row(said: Brief | Record, loading: Loading, state_bytes: int) -> SequenceRow:
    summary = said.summary
    idle = max(monotonic_ns() - said.last_use, 0) / 1e9
    return SequenceRow(
        id=identity(said.tag), version=str(loading.version), steps=summary.steps, since=summary.since,
        idle_s=round(idle, 1), bytes=state_bytes,
    )  # fmt: skip


def _told(tensor: Tensor) -> TensorBody:
    return TensorBody(name=tensor.name, datatype=tensor.datatype.name, shape=list(tensor.shape))


def _tag(name: Identity) -> bytes:
    try:
        return sequence_tag(name)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None


def _read(document: SequenceExport, layout: Layout) -> Saved:
    try:
        if document.form != FORM:
            raise ValueError(f"its form is {document.form!r}")
        saved = saved_steps.unpack(base64.b64decode(document.saved, validate=True))
    except (ValueError, binascii.Error, Internal) as error:
        raise InvalidRequest(f"no exported sequence: {error}", reason="sequence_malformed") from None
    try:
        wrong = unfit(arrays(saved.states), layout)
    except ModelRejected as error:
        wrong = [error.message]
    if wrong:
        raise InvalidRequest(f"the state is another version's: {'; '.join(wrong)}", reason="state_unfit")
    return saved


def _require(told: Told, name: Identity) -> None:
    if told.status is Status.FULL:
        raise Conflict("as many sequences live as may; end some, or raise sequence.max", reason="sequence_no_room")
    if told.status is not Status.OK:
        why = bytes(told.body).decode(errors="replace") or told.status.name.lower()
        raise InvalidRequest(f"sequence {name!r} cannot be brought in: {why}", reason="state_unfit")


def _unknown(name: Identity, model: str) -> NotFound:
    return NotFound(f"no sequence {name!r} of {model} lives", reason="sequence_not_found")
