"""The sequences of all models at this gateway: their lines, their steps, and what is swept (see `step`, `sweep`)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from changeover.gateway.sequences.asked import asked
from changeover.gateway.sequences.line import Line, Lines
from changeover.gateway.sequences.refusals import one_row
from changeover.gateway.sequences.request import Counter, Request, Stray
from changeover.gateway.sequences.step import Step
from changeover.gateway.sequences.sweep import Sweeper
from changeover.gateway.sequences.where import Where, where
from changeover.sequences.saved import Token
from changeover.sequences.wire import sequence_key, sequence_tag

if TYPE_CHECKING:
    from changeover.gateway.models import Models
    from changeover.gateway.router import Model, Target
    from changeover.gateway.ticket import Ticket

_LOOK: Final = 0.1
"""Seconds between two looks at all steps under way."""
log = logging.getLogger("changeover.gateway")


class Sequences:
    """What the pipeline asks about requests of models that keep state.

    Args:
        desk: answers clients.
        models: of this gateway.

    Attributes:
        desk: the same.
    """

    def __init__(self, desk: Counter, models: Models) -> None:
        self.desk = desk
        self._models = models
        self._incarnation = int.from_bytes(os.urandom(8))
        self._number = 0
        self._lines: dict[str, Lines] = {}
        self._steps: dict[Ticket, Step] = {}
        self._next = 0.0
        self._sweeper = Sweeper(models, self)
        models.on_unnamed = self._sweeper.hold

    # -- pipeline ------------------------------------------------------------------------------------------

    def step(self, ticket: Ticket) -> Step | None:
        """What a request asks of its sequence; None where its version keeps no state.

        Raises:
            InvalidRequest: it names no sequence, or wrongly, or has several rows.
        """
        if ticket.target.sequence is None:
            return None
        told = asked(ticket.asked.parameters)
        for tensor in ticket.asked.inputs if ticket.target.batchable else ():
            one_row(tensor.shape[0] if tensor.shape else 1)
        tag = sequence_tag(told.id)
        line = self.line(ticket.model, sequence_key(tag), tag)
        return Step(self, Request(ticket.model, line, self._token(), ticket, told))

    def enter(self, ticket: Ticket, step: Step) -> None:
        """The request is admitted: it stands in its sequence's line, and holds no loading while it does."""
        ticket.release()
        ticket.tally = None
        ticket.key = None
        self._steps[ticket] = step
        step.request.line.join(step)

    def left(self, ticket: Ticket) -> None:
        """Its client has gone, or heard that its time is over."""
        step = self._steps.get(ticket)
        if step is not None:
            step.leave()

    def check(self, now: float) -> None:
        """Move what lies where it does not belong; find out who hangs.

        The clock that calls this answers all deadlines: a defect here costs one look at one loading or step.
        """
        self._sweeper.check(now)
        if now >= self._next:
            self._next = now + _LOOK
            for step in list(self._steps.values()):
                try:
                    step.check(now)
                except Exception:
                    log.exception("a step of a sequence cannot be looked at")

    # -- step.House ----------------------------------------------------------------------------------------

    def where(self, step: Step) -> Where:
        """See `where.where`."""
        request = step.request
        ticket, told = request.ticket, request.asked
        pinned = ticket.pinned if ticket is not None else None
        begins = told is not None and told.start
        held = self._sweeper.held(request.model.word)
        found = where(request.model, held, request.line, pinned, begins=begins)
        return found if request.to is None else found.towards(request.to)

    def target(self, loading: int) -> Target | None:
        """A loading that this gateway knows."""
        return self._models.targets.get(loading)

    def over(self, step: Step) -> None:
        """A step is done; of a sequence that has ended nothing is remembered."""
        request = step.request
        if request.ticket is not None:
            self._steps.pop(request.ticket, None)
        if step.finished:
            self._lines[request.model.name].forget(request.line)

    # -- sweep.House ---------------------------------------------------------------------------------------

    def move(self, model: Model, stray: Stray) -> Step | None:
        """Begin to move a record to where it belongs, behind the steps that stand in line; None when somebody does."""
        line = self.line(model, stray.key, stray.tag)
        if not line.free:
            return None
        line.owner = stray.source
        step = Step(self, Request(model, line, Token(), to=stray.to))
        line.join(step)
        return step

    # ------------------------------------------------------------------------------------------------------

    def line(self, model: Model, key: bytes, tag: bytes) -> Line:
        """The line of a sequence."""
        lines = self._lines.get(model.name)
        if lines is None:
            lines = self._lines[model.name] = Lines()
        return lines.of(key, tag)

    def _token(self) -> Token:
        self._number += 1
        return Token(self._incarnation, self._number)
