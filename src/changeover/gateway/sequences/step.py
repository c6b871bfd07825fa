"""One step of a sequence under way: it does what its course decides, until a loading has taken it or it is refused.

The client's ticket is answered by the pipeline as any other; here it only waits. Without a ticket this is a move: the
sweeper's, or what is left of a step whose client has gone while its state was on the way.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from changeover.errors import CallerError, ChangeoverError, Internal, Overloaded
from changeover.gateway.admission import admit
from changeover.gateway.sequences.aside import Holds, forget_elsewhere, shielded
from changeover.gateway.sequences.careful import careful
from changeover.gateway.sequences.course import Action, Course, Verb, Way, Wish
from changeover.gateway.sequences.errand import NOTHING, Errand, Nobody
from changeover.gateway.sequences.refusals import refusal, run_failure
from changeover.gateway.sequences.words import ask_of, dead, handed, settled
from changeover.sequences.saved import unpack
from changeover.sequences.wire import Status, Told

if TYPE_CHECKING:
    from changeover.gateway.router import Target
    from changeover.gateway.sequences.request import House, Request
    from changeover.gateway.sequences.where import Where
    from changeover.tensors import Tensor

_HANGS: Final = 1.0
"""Seconds before which nobody is taken for hanging, however little time a client gives."""


class Step:
    """See the module.

    Attributes:
        request: what is wanted.
        over: whether it is done.
    """

    def __init__(self, house: House, request: Request) -> None:
        self.request = request
        self.over = False
        self._house = house
        self._ticket = request.ticket
        self._course: Course
        self._where: Where
        self._action = Action(Verb.DONE)
        self._errand: Errand | None = None
        self._begun = self._shielded = False
        self._give_up = inf
        self._holds = Holds()

    @property
    def finished(self) -> bool:
        """Whether nothing needs to be remembered of the sequence: it has ended, or is nowhere."""
        if not self._begun or self._course.owner is None:
            return self._action.verb is Verb.REFUSE if self._begun else False
        return self.request.asked is not None and self.request.asked.end

    # -- line.Waits ----------------------------------------------------------------------------------------

    @careful
    def begin(self) -> None:
        """It is its turn: only now the table in force is asked."""
        self._under(self._house.where(self))

    def _under(self, where: Where) -> None:
        """Begin, as a table says."""
        self._where, self._course, self._begun = where, Course(self.request.wish, where.map), True
        self._forget_elsewhere()
        self._go()

    def _forget_elsewhere(self) -> None:
        if self.request.wish is Wish.BEGIN:
            forget_elsewhere(self._house, self.request, self._where, self._course.goal)

    def _go(self) -> None:
        """The next errand. Without its client a step does no more than to bring a state where it was going."""
        action = self._action = self._course.next()
        abandoned = self._ticket is None and self.request.ticket is not None
        if action.verb is Verb.REFUSE:
            self._refuse(refusal(action.reason, self.request.line.tag))
        elif action.verb is Verb.DONE or (abandoned and action.verb is not Verb.PUT):
            self._end()
        else:
            self._send(action)

    def _send(self, action: Action) -> None:
        target = self._house.target(action.loading)
        if action.verb is Verb.FETCH:
            self._holds.hold(self._house.target(action.to), target)  # what is not taken there goes home
        if target is None or (target.batcher.gone and action.verb is Verb.PUT):
            self._hear(Told(Status.UNKNOWN))
        elif target.batcher.gone:
            self._ask_the_dead(target)
        else:
            errand = self._errand = self._make(target, action)
            self._give_up = self._half(errand)
            target.batcher.put(errand)

    def _half(self, errand: Errand) -> float:
        """When a candidate has had half of the time that is left, and a second at least."""
        if errand.admitted is NOTHING or self._ticket is None or self._rescue(errand) is None:
            return inf
        now = monotonic()
        return max((now + self._ticket.deadline) / 2, now + _HANGS)

    def check(self, now: float) -> None:
        """A candidate that hangs with the step in hand is replaced, for only it can say what became of the step."""
        if now >= self._give_up and self._errand is not None and self._errand.running:
            self._give_up = inf
            self._errand.target.batcher.give_up("a step of a sequence took half of its time, and over a second")

    def _make(self, target: Target, action: Action) -> Errand:
        """An errand with a lease.

        Raises:
            ChangeoverError: the request does not fit the loading.
        """
        ticket = self._ticket if action.verb in (Verb.RUN, Verb.PUT) else None
        if ticket is not None and target is not ticket.target:
            ticket.admitted = admit(ticket.asked, target.inputs, target.positions, batchable=target.batchable)
            self._house.desk.check_outputs(ticket, target)
        asker = self._ticket.asker if self._ticket is not None else Nobody()
        ask = ask_of(action, self.request, ticket)
        errand = Errand(asker, self.request.model, target, self._where.epoch)
        errand.sent_by(self, ask, ticket.admitted if ticket is not None else NOTHING)
        if ticket is not None:
            evidence = ticket.pinned is None and not self._shielded
            errand.key = ticket.key = self.request.line.key if self._where.keyed else None
            errand.tally = target.ledger.current if evidence else None
            ticket.target, ticket.epoch, ticket.tally = target, errand.epoch, errand.tally
        return errand

    def _ask_the_dead(self, target: Target) -> None:
        """A loading that gets no worker any more: what its slab holds stands for what the worker would say."""
        goal = self._course.goal
        if target.loading == goal:
            self._without_goal()
            return
        idle = target.sequence.idle if target.sequence is not None else 0.0
        found, way = dead(target.slab, self.request.line.key, idle), self._course.way_from(target.loading)
        told = found if way is Way.RESET else handed(found, target, goal)
        if told is None or (told.status is Status.OK and way is Way.STAY):
            self._refuse(refusal("sequence_lost", self.request.line.tag))
            return
        self._action = Action(Verb.FETCH, target.loading, goal)
        self._hear(told)

    def _without_goal(self) -> None:
        """The goal gets no worker any more: a newer table has another, or the active version stands in for it."""
        where, ticket = self._house.where(self), self._ticket
        rescue = self._where.rescue if ticket is not None and ticket.pinned is None else None
        if where.epoch != self._where.epoch:
            self._under(where)
        elif self._course.failed(self._action, rescue):
            self._shielded = True
            self._forget_elsewhere()
            self._go()
        else:
            self._refuse(Internal("no worker can answer; the model's last one failed", reason="worker_lost"))

    # -- errand.Sender -------------------------------------------------------------------------------------

    @careful
    def returned(self, errand: Errand, outputs: list[Tensor]) -> None:
        """A loading has answered."""
        if errand is not self._errand:
            return
        failure = run_failure(errand.told) if self._action.verb is not Verb.FETCH else None
        if failure is not None:
            self.broke(errand, failure)
            return
        self._errand = None
        if errand.admitted is not NOTHING and errand.told.status in (Status.OK, Status.DUPLICATE):
            self._answer(errand, outputs)
        self._hear(errand.told)

    def _hear(self, told: Told) -> None:
        self._course.heard(self._action, told)
        self._go()

    def _answer(self, errand: Errand, outputs: list[Tensor]) -> None:
        """The step is committed: its client hears it, if it is still there."""
        ticket, told = self._ticket, errand.told
        if ticket is None or ticket.answered:
            return
        if told.status is Status.DUPLICATE:
            outputs = list(unpack(told.body).answer)
        if self._course.reset:
            ticket.asked.remarks = {"sequence_reset": True}
        if not settled(told):
            ticket.tally = None
        self._house.desk.answer(ticket, outputs)

    @careful
    def broke(self, errand: Errand, error: ChangeoverError) -> None:
        """An errand came to nothing."""
        if errand is not self._errand:
            return
        self._errand = None
        errand.release()
        action = self._action
        if errand.target.batcher.gone:
            self._send(action)
        elif action.verb is Verb.FETCH or isinstance(error, CallerError | Overloaded):
            self._refuse(error)
        elif self._course.failed(action, self._rescue(errand)):
            self._saved(errand)
            self._go()
        else:
            self._refuse(error)

    def _rescue(self, errand: Errand) -> int | None:
        """The loading that answers for a candidate, while the client has time."""
        ticket = self._ticket
        if ticket is None or ticket.pinned is not None or monotonic() >= ticket.deadline:
            return None
        return self._where.rescue if errand.target.loading == self._where.map.goal else None

    def _saved(self, errand: Errand) -> None:
        """A failure that the client does not see; the judge does."""
        self._shielded = True
        self._forget_elsewhere()
        shielded(errand)
        self._uncount(errand)

    def _uncount(self, errand: Errand) -> None:
        """It is no evidence any more."""
        errand.tally = None
        if self._ticket is not None:
            self._ticket.tally = None

    @careful
    def lost(self, errand: Errand, *, in_hand: bool) -> None:
        """The slab outlives the worker, so the next one gets the errand; but a candidate's step the active version."""
        if errand is not self._errand or errand.admitted is NOTHING:
            return
        if not in_hand:
            self._give_up = self._half(errand)  # the next worker has its own time
            return
        rescue = self._rescue(errand)
        if rescue is not None and self._course.failed(self._action, rescue):
            errand.answered = True  # the batcher ends its lease
            self._errand = None
            self._saved(errand)
            self._go()
        elif errand.tally is not None:
            errand.tally.failed(errand.key)
            self._uncount(errand)

    # -- the end -------------------------------------------------------------------------------------------

    @careful
    def leave(self) -> None:
        """The client has gone, or its time is over: what a worker has in hand is not broken off."""
        self._ticket = None
        errand = self._errand
        if not self._begun or errand is None:
            self._end()
        elif not errand.running:
            self.drop()
            if self._course.carries:
                self._go()
            else:
                self._end()

    def drop(self) -> None:
        """Take back what is under way, if anything is."""
        errand, self._errand = self._errand, None
        if errand is not None:
            errand.take_back()

    def give_up(self, error: ChangeoverError) -> None:
        """A defect: the client hears so, and the others of the line go on."""
        self.drop()
        self._refuse(error)

    def _refuse(self, error: ChangeoverError) -> None:
        ticket = self._ticket
        self._end()
        if ticket is not None and not ticket.answered:
            self._house.desk.fail(ticket, error)

    def _end(self) -> None:
        """The next of the line may begin."""
        if self.over:
            return
        self.over = True
        line = self.request.line
        if self._begun and self._course.owner is not None:
            line.owner = self._course.owner
            line.stays = line.stays if self._course.stays is None else self._course.stays
        if self.finished:
            line.owner = None
        self._holds.release()
        line.leave(self)
        self._house.over(self)
