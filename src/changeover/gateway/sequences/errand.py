"""An errand: one message about a sequence on its way to a loading, with the step it is for as its guard.

A client's own ticket never enters a batcher: what it takes may be several errands at several loadings.
"""

from __future__ import annotations

from math import inf
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol

from changeover.gateway.admission import Admitted
from changeover.gateway.ticket import Guard, Ticket
from changeover.sequences.wire import Ask, Verb
from changeover.telemetry.observations import HTTP
from changeover.transport.channel import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from changeover.errors import ChangeoverError
    from changeover.gateway.asker import Asker
    from changeover.gateway.router import Model, Target
    from changeover.gateway.sequences.request import Request
    from changeover.protocol.oip import InferRequest
    from changeover.sequences.wire import Told
    from changeover.tensors import Raw, Tensor

NOTHING: Final = Admitted([], (), 1, ((-1,),))
"""What a message without a run brings; its key is no request's, so it never shares a batch with one."""


class Nobody:
    """The asker of what no client has asked for."""

    def __init__(self) -> None:
        self.protocol = HTTP
        self.headers: Mapping[bytes, bytes] = {}
        self.size = 0
        self.received = monotonic()
        self.timeout: float | None = None

    def watch(self, gone: Callable[[], None] | None) -> None:
        """Nobody goes away."""

    def decode(self) -> InferRequest:
        """See `Asker`."""
        raise NotImplementedError

    def encode(self, model: str, version: str, asked: InferRequest, outputs: list[Tensor]) -> list[Raw]:
        """See `Asker`."""
        raise NotImplementedError

    def send(self, chunks: list[Raw], epoch: int) -> None:
        """Nobody hears it."""

    def fail(self, error: ChangeoverError, epoch: int | None = None) -> None:
        """Nobody hears it."""


class Sender(Protocol):
    """Whose errand it is: a step."""

    def returned(self, errand: Errand, outputs: list[Tensor]) -> None:
        """The loading has answered (`errand.told`); the outputs' memory is reused after this returns."""

    def broke(self, errand: Errand, error: ChangeoverError) -> None:
        """It came to nothing."""

    def lost(self, errand: Errand, *, in_hand: bool) -> None:
        """The worker died with it in hand or waiting; unless it is answered now, the next worker gets it."""


class _Told(Guard):
    """Hands on what comes of errands; `copies`: nothing is run, so nothing is counted."""

    def __init__(self, *, copies: bool) -> None:
        self.quiet = False
        self.copies = copies

    def answers(self, ticket: Ticket, outputs: list[Tensor]) -> bool:
        """Always taken care of."""
        if isinstance(ticket, Errand):
            ticket.answered = True  # should its worker be given up in this very batch, it is not sent again
            ticket.sender.returned(ticket, outputs)
        return True

    def fails(self, ticket: Ticket, error: ChangeoverError) -> bool:
        """Always taken care of."""
        if isinstance(ticket, Errand):
            ticket.answered = True
            ticket.sender.broke(ticket, error)
        return True

    def lost(self, ticket: Ticket, *, in_hand: bool) -> None:
        """See `Sender`."""
        if isinstance(ticket, Errand):
            ticket.sender.lost(ticket, in_hand=in_hand)


_RUNS: Final = _Told(copies=False)
_RECORDS: Final = _Told(copies=True)


class Errand(Ticket):
    """A ticket for a batcher, whose lease lives until `release` as any other's.

    Attributes:
        ask: what the worker is told.
        told: what it says; set before the answer is handed on.
        sender: whose it is.
    """

    __slots__ = ("ask", "sender", "told")

    def __init__(self, asker: Asker, model: Model, target: Target, epoch: int) -> None:
        super().__init__(asker, model, target, epoch)
        self.ask: Ask
        self.told: Told
        self.sender: Sender
        self.deadline = inf  # the client's ticket has one
        target.leases += 1

    def sent_by(self, sender: Sender, ask: Ask, admitted: Admitted) -> None:
        """Make it ready to be queued; `NOTHING` is admitted where nothing is run."""
        self.sender, self.ask, self.admitted = sender, ask, admitted
        runs = admitted is not NOTHING
        self.kind = Message.STEP if runs else Message.RECORDS
        self.guard = _RUNS if runs else _RECORDS

    def take_back(self) -> None:
        """Nobody wants to hear of it any more; one in a worker's hand keeps its lease until it comes back."""
        self.answered = True
        self.target.batcher.withdraw(self)
        if not self.running:
            self.release()


class _Unheard:
    """The sender of what nobody waits for; `again`: the loading's next worker gets what this one does not take."""

    def __init__(self, *, again: bool) -> None:
        self._again = again

    def returned(self, errand: Errand, outputs: list[Tensor]) -> None:
        """It is done."""

    def broke(self, errand: Errand, error: ChangeoverError) -> None:
        """It cannot be done."""
        del error
        target = errand.target
        if self._again and not target.batcher.gone:
            target.unheard.append(errand)
        errand.release()

    def lost(self, errand: Errand, *, in_hand: bool) -> None:
        """The next worker does it."""


def forget(target: Target, request: Request, epoch: int) -> None:
    """Have a loading forget what it has of a sequence that begins anew elsewhere.

    It may come late, after the sequence has begun and even moved there: what is younger than this moment stays.
    """
    errand = Errand(Nobody(), request.model, target, epoch)
    ask = Ask(Verb.FORGET, request.token, request.line.key, request.line.tag, generation=monotonic_ns())
    errand.sent_by(_Unheard(again=True), ask, NOTHING)
    target.batcher.put(errand)


def forget_again(target: Target) -> None:
    """Tell a new worker what the ones before did not hear, for they died again and again; once each."""
    while target.unheard:
        before = target.unheard.popleft()
        errand = Errand(Nobody(), before.model, target, before.epoch)
        errand.sent_by(_Unheard(again=False), before.ask, NOTHING)
        target.batcher.put(errand)
