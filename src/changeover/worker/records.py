"""The records of one slab, as their only writer sees them: what a gateway's ask does to a sequence.

A step is three calls: `begin` says what each ask comes to and takes the sequences in hand, the caller runs the model,
`commit` saves a step, `end` lets go. Between them no other thread touches these sequences.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from time import monotonic_ns
from typing import NamedTuple

from changeover.errors import Internal, ModelRejected
from changeover.sequences.declared import Layout
from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token, unpack
from changeover.sequences.slab import Mark, Slab
from changeover.sequences.wire import MOST_WHY, Ask, Status, Told, Verb
from changeover.tensors import Tensor
from changeover.worker.moves import Carry, Moves
from changeover.worker.slots import Slots

_SAME = Flag.START | Flag.END
_GONE = {Mark.RELEASED: Status.MOVED, Mark.ENDED: Status.ENDED, Mark.EXPIRED: Status.EXPIRED}


class Step(NamedTuple):
    """A step that is to be run.

    Attributes:
        ask: of the gateway.
        before: the state that it starts from; None: the initial one.
        generation: that the record has with it.
    """

    ask: Ask
    before: Saved | None
    generation: int


class Records:
    """The slab's writer.

    Args:
        slab: mapped for writing.
        layout: of the loading's sequences.
        moves: how states come and go.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self, slab: Slab, layout: Layout, moves: Moves | None = None, clock: Callable[[], int] = monotonic_ns
    ) -> None:
        self._slab = slab
        self._layout = layout
        self._moves = moves or Carry(layout)
        self._clock = clock
        self._slots = Slots(slab, layout, clock)
        self._in_hand: set[bytes] = set()
        self._turn = threading.Condition()

    # -- steps ---------------------------------------------------------------------------------------------

    def begin(self, asks: Sequence[Ask]) -> list[Step | Told]:
        """What each ask comes to: a step to be run, or an answer. Waits until no other thread has one of them in hand.

        Raises:
            Internal: two asks for one sequence, or one that is no step.
        """
        keys = {ask.key for ask in asks}
        if len(keys) != len(asks) or any(ask.verb is not Verb.STEP for ask in asks):
            raise Internal("two steps of one sequence at once, or none", reason="channel_malformed")
        with self._turn:
            self._turn.wait_for(lambda: not keys & self._in_hand)
            self._expire()
            try:
                found = [self._taken_in_hand(ask) for ask in asks]
            except Internal:
                self._slots.leave(keys)
                raise
            self._in_hand |= keys
        return found

    def _taken_in_hand(self, ask: Ask) -> Step | Told:
        work = self._step(ask)
        if isinstance(work, Step):
            if ask.key not in self._slots.live and self._slots.full:
                return Told(Status.FULL)
            self._slots.take(ask.key)
        return work

    def _step(self, ask: Ask) -> Step | Told:
        slot = self._slots.of(ask.key)
        saved = self._slab.own(slot, answer=False) if slot is not None else None
        stands = ask.key in self._slots.live or (saved is not None and saved.ended)
        if saved is not None and slot is not None and _again(ask, saved, stands=stands):
            return _told(Status.DUPLICATE, saved, self._slab.own(slot).pack())
        if ask.flags & Flag.START:
            return Step(ask, None, max(saved.generation + 1 if saved else 0, self._clock()))
        if ask.body and (saved is None or ask.generation > saved.generation):
            taken = self._taken(ask)
            if isinstance(taken, Told):
                return taken
            if _again(ask, taken, stands=True):
                return self._import(ask, taken, Status.DUPLICATE)
            return Step(ask, taken, taken.generation)
        if saved is None or slot is None:
            return Told(Status.UNKNOWN)
        if ask.key not in self._slots.live:
            return self._gone(ask.key, slot, saved, out=False)
        return Step(ask, saved, saved.generation)

    def commit(self, step: Step, states: Sequence[Tensor], answer: Sequence[Tensor], given: Sequence[Tensor]) -> Told:
        """Save a step that was run. Its sequence is in hand.

        Args:
            step: from `begin`.
            states: after it.
            answer: public outputs.
            given: public inputs.
        """
        ask, before = step.ask, step.before
        stays = before.flags & Flag.STAYS if before is not None else Flag(0)
        kept = (*(before.inputs if before is not None else ()), tuple(given))[-self._layout.replay :]
        saved = Saved(
            ask.token, ask.digest, ask.flags & _SAME | stays, step.generation,
            before.since + 1 if before is not None else 1, before.steps + 1 if before is not None else 1,
            tuple(states), tuple(answer), kept if self._layout.replay else (),
        )  # fmt: skip
        return self._save(ask, saved)

    def end(self, asks: Iterable[Ask]) -> None:
        """Let go of sequences that `begin` took in hand."""
        keys = [ask.key for ask in asks]
        with self._turn:
            self._in_hand.difference_update(keys)
            self._slots.leave(keys)
            self._turn.notify_all()

    # -- records alone -------------------------------------------------------------------------------------

    def answer(self, ask: Ask) -> Told:
        """Do what needs no run: RELEASE, IMPORT, FORGET.

        Raises:
            Internal: it is a step.
        """
        acts = {Verb.RELEASE: self._release, Verb.IMPORT: self._take_over, Verb.FORGET: self._forget}
        act = acts.get(ask.verb)
        if act is None:
            raise Internal("a step among records", reason="channel_malformed")
        with self._turn:
            self._turn.wait_for(lambda: ask.key not in self._in_hand)
            self._expire()
            return act(ask)

    def _release(self, ask: Ask) -> Told:
        slot = self._slots.of(ask.key)
        if slot is None:
            return Told(Status.UNKNOWN)
        saved = self._slab.own(slot)
        if ask.key not in self._slots.live:
            return self._gone(ask.key, slot, saved, out=True)
        body = self._handed(saved, ask.to)
        if isinstance(body, bytes):
            self._bury(ask.key, Mark.RELEASED, ask.to)
            return _told(Status.OK, saved, body)._replace(generation=saved.generation + 1)
        return body

    def _handed(self, saved: Saved, to: int) -> bytes | Told:
        try:
            return self._moves.hand(replace(saved, generation=saved.generation + 1), to).pack()
        except ModelRejected as error:
            return Told(Status.BAD_STATE, body=error.message.encode()[:MOST_WHY])

    def _gone(self, key: bytes, slot: int, saved: Saved, *, out: bool) -> Told:
        """What is said of a tombstone; with `out` a released one gives its state out again."""
        told = _told(_GONE[self._slots.mark(key)], saved)
        if told.status is not Status.MOVED:
            return told
        record = self._slab.record(slot)
        to = record.moved_to if record is not None else 0
        body = self._handed(saved, to) if out else b""
        if isinstance(body, Told):
            return body
        return told._replace(generation=saved.generation + 1, moved_to=to, body=body)

    def _take_over(self, ask: Ask) -> Told:
        slot = self._slots.of(ask.key)
        if slot is not None:
            saved = self._slab.own(slot)
            if saved.generation >= ask.generation:
                return _told(Status.OK, saved)
        taken = self._taken(ask)
        return taken if isinstance(taken, Told) else self._import(ask, taken, Status.OK)

    def _taken(self, ask: Ask) -> Saved | Told:
        """A body as this version has it, or why it cannot."""
        try:
            came = unpack(ask.body)
            own = self._as_it_went(ask.key, came)
            back = bool(came.flags & ~(_SAME | Flag.STAYS))
            came, states = (own, own.states) if own else (came, self._moves.take(came, back=back))
        except (ModelRejected, Internal) as error:
            return Told(Status.BAD_STATE, body=error.message.encode()[:MOST_WHY])
        flags = came.flags & _SAME | ask.flags & Flag.STAYS
        inputs = came.inputs[-self._layout.replay :] if self._layout.replay else ()
        return replace(came, flags=flags, generation=ask.generation, since=0, states=states, inputs=inputs)

    def _as_it_went(self, key: bytes, came: Saved) -> Saved | None:
        """The own record of a step that comes home without another one: its body was made for a receiver's layout."""
        slot = self._slots.of(key)
        if slot is None or self._slots.mark(key) is not Mark.RELEASED:
            return None
        own = self._slab.own(slot)
        same = own.token == came.token != Token() and own.steps == came.steps
        return own if same else None

    def _import(self, ask: Ask, saved: Saved, status: Status) -> Told:
        if ask.key not in self._slots.live and self._slots.full:
            return Told(Status.FULL)
        told = self._save(ask, saved)
        body = saved.pack() if status is Status.DUPLICATE else b""
        return told._replace(status=status, body=body) if told.status is Status.OK else told

    def _forget(self, ask: Ask) -> Told:
        slot = self._slots.of(ask.key)
        if slot is None or 0 < ask.generation <= self._slab.own(slot, answer=False).generation:
            return Told(Status.UNKNOWN)
        if ask.key in self._slots.live or self._slots.mark(ask.key) is Mark.RELEASED:
            self._bury(ask.key, Mark.ENDED)
        return _told(Status.OK, self._slab.own(slot))

    # -- slots ---------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Bury the sequences that nobody has used for `idle` seconds."""
        with self._turn:
            self._expire()

    def _expire(self) -> None:
        for key in self._slots.late():
            if key not in self._in_hand:
                self._bury(key, Mark.EXPIRED)

    def _save(self, ask: Ask, saved: Saved) -> Told:
        data = saved.pack()
        if len(data) > self._slab.geometry.saved_bytes:
            return Told(Status.TOO_LARGE)
        with self._turn:
            self._slots.save(ask.key, ask.tag, saved, data)
        return _told(Status.OK, saved)

    def _bury(self, key: bytes, mark: Mark, to: int = 0) -> None:
        """Make a tombstone of a record; tests are deaf here."""
        self._slots.bury(key, mark, to)


def _again(ask: Ask, saved: Saved, *, stands: bool) -> bool:
    """Whether this step was committed last: by its token or, where that record `stands`, by client's id and inputs."""
    if ask.token == saved.token and ask.token != Token():
        return True
    known = stands and ask.digest != NO_DIGEST and ask.digest == saved.digest
    return known and ask.flags & _SAME == saved.flags & _SAME


def _told(status: Status, saved: Saved, body: bytes = b"") -> Told:
    return Told(status, saved.generation, saved.since, saved.steps, body=body)
