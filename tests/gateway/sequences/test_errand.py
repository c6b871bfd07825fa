"""Errands: tickets about sequences for batchers."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

import pytest

from changeover.errors import ModelRunFailed
from changeover.gateway.admission import Admitted
from changeover.gateway.batcher import Batcher
from changeover.gateway.router import Target
from changeover.gateway.sequences.errand import NOTHING, Errand, Nobody, forget, forget_again
from changeover.gateway.sequences.line import Line
from changeover.gateway.sequences.request import Request
from changeover.sequences.saved import Token
from changeover.sequences.wire import Ask, Verb
from changeover.transport.channel import Message
from tests.gateway.sequences.stateful import stateful


class Sender:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def returned(self, errand: Errand, outputs: list[Any]) -> None:
        """Answered."""
        self.heard.append(("returned", outputs))

    def broke(self, errand: Errand, error: Exception) -> None:
        """Failed."""
        self.heard.append(("broke", error))

    def lost(self, errand: Errand, *, in_hand: bool) -> None:
        """The worker died."""
        self.heard.append(("lost", in_hand))


def test_what_is_to_be_forgotten_is_told_once_and_nobody_hears_the_answer() -> None:
    """The message has the moment, so that what is younger stays; its lease ends with it, however it ends."""
    entry = stateful(1, "1")
    target = Target(entry, 1, Batcher(entry, None, None, None))  # type: ignore[arg-type]
    line = Line(bytes(16), b"\x017")
    before = monotonic_ns()
    forget(target, Request(None, line, Token(1, 1)), 1)  # type: ignore[arg-type]
    (errand,) = target.batcher._queue
    assert isinstance(errand, Errand)
    assert (errand.ask.verb, errand.kind, target.leases) == (Verb.FORGET, Message.RECORDS, 1)
    assert before <= errand.ask.generation <= monotonic_ns()
    assert errand.guard is not None
    assert errand.guard.fails(errand, ModelRunFailed("x"))
    assert target.leases == 0


def test_what_a_worker_did_not_hear_the_next_one_is_told_once() -> None:
    """The loading's workers died again and again; a sequence that began elsewhere meanwhile must not come back."""
    entry = stateful(1, "1")
    target = Target(entry, 1, Batcher(entry, None, None, None))  # type: ignore[arg-type]
    for number in range(2):
        forget(target, Request(None, Line(bytes(16), b"\x017"), Token(1, number)), 1)  # type: ignore[arg-type]
    for again in (2, 0):
        while target.batcher._queue:
            errand = target.batcher._queue.popleft()
            assert errand.guard is not None
            errand.guard.fails(errand, ModelRunFailed("x"))
        assert (len(target.unheard), target.leases) == (again, 0)
        asks = [errand.ask for errand in target.unheard]
        forget_again(target)
        assert [e.ask for e in target.batcher._queue if isinstance(e, Errand)] == asks
        assert (len(target.unheard), target.leases) == (0, again)


@pytest.mark.parametrize("runs", [True, False])
def test_what_comes_of_an_errand_goes_to_its_sender(runs: bool) -> None:
    """It holds a lease until it is released, and only what runs is counted."""
    entry = stateful(1, "1")
    target = Target(entry, 1, Batcher(entry, None, None, None))  # type: ignore[arg-type]
    sender, asker = Sender(), Nobody()
    errand = Errand(asker, None, target, 1)  # type: ignore[arg-type]
    admitted = Admitted([b""], ((1, 4),), 1, ((4,),)) if runs else NOTHING
    errand.sent_by(sender, Ask(Verb.STEP, Token(), b"", b""), admitted)
    assert (errand.kind, target.leases) == (Message.STEP if runs else Message.RECORDS, 1)
    assert errand.guard is not None
    assert errand.guard.copies is not runs
    error = ModelRunFailed("x")
    assert errand.guard.answers(errand, [])
    assert errand.answered, "so it is not sent again with the rest of its batch"
    errand.answered = False
    assert errand.guard.fails(errand, error)
    assert errand.answered
    errand.guard.lost(errand, in_hand=True)
    assert sender.heard == [("returned", []), ("broke", error), ("lost", True)]
    errand.release()
    assert target.leases == 0
