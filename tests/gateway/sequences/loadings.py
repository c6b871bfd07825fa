"""Loadings that keep sequences as workers do, in memory: the state is the sum of all steps."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from itertools import count

from changeover.gateway.sequences.course import Action, Course, Verb
from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token, unpack
from changeover.sequences.wire import Status, Told
from changeover.tensors import Datatype, Tensor

CLOCK = count(1_000)


def state(total: int) -> tuple[Tensor, ...]:
    """The one state tensor."""
    return (Tensor("h", Datatype.INT64, (1,), struct.pack("<q", total)),)


def total_of(saved: Saved) -> int:
    """What is in it."""
    (value,) = struct.unpack("<q", saved.states[0].data)
    return int(value)


@dataclass
class Step:
    """What a client wants: add `value`."""

    token: Token
    value: int
    end: bool = False


@dataclass
class Loading:
    """One loading's record of one sequence.

    Attributes:
        fails: its runs fail.
        full: there is room for nothing that is not there.
        refuses: it takes no state of another's.
        keeps: it cannot make its state into another's.
        came: the state that was put there last, as it came.
    """

    number: int
    saved: Saved | None = None
    status: Status = Status.OK
    moved_to: int = 0
    fails: bool = False
    full: bool = False
    refuses: bool = False
    keeps: bool = False
    came: Saved | None = None
    runs: list[int] = field(default_factory=list)

    def put(self, body: bytes, generation: int, *, stays: bool) -> Told | None:
        """Take a state over; None when it did, or had a younger one."""
        if self.saved is not None and self.saved.generation + (self.status is Status.MOVED) >= generation:
            return None
        if self.refuses:
            return Told(Status.BAD_STATE, body=b"another layout")
        if self.full and self.saved is None:
            return Told(Status.FULL)
        taken = self.came = unpack(body)
        assert taken.generation == generation, "the number beside a state is not the state's own"
        self.saved = replace(taken, since=0, flags=Flag.STAYS if stays else Flag(0))
        self.status = Status.OK
        return None

    def release(self, to: int) -> Told:
        """Hand out."""
        saved = self.saved
        if saved is None:
            return Told(Status.UNKNOWN)
        if self.keeps and self.status is Status.OK:
            return Told(Status.BAD_STATE, body=b"no way back")
        out = replace(saved, generation=saved.generation + 1)
        if self.status is Status.OK:
            self.status, self.moved_to = Status.MOVED, to
            return Told(Status.OK, out.generation, body=out.pack())
        if self.status is Status.MOVED:
            return Told(Status.MOVED, out.generation, moved_to=self.moved_to, body=out.pack())
        return Told(self.status, saved.generation)

    def forget(self, generation: int) -> Told:
        """End it, unless it is younger."""
        if self.saved is None or self.status is not Status.OK or self.saved.generation >= generation:
            return Told(Status.UNKNOWN)
        self.status = Status.ENDED
        return Told(Status.OK)

    def run(self, step: Step, *, start: bool) -> Told | None:
        """Advance; None when the run failed."""
        saved = self.saved
        if saved is not None and saved.token == step.token and self.status is not Status.MOVED:
            return Told(Status.DUPLICATE, saved.generation)
        if not start and saved is None:
            return Told(Status.UNKNOWN)
        if not start and saved is not None and self.status is not Status.OK:
            moved = self.status is Status.MOVED
            return Told(self.status, saved.generation + moved, moved_to=self.moved_to if moved else 0)
        if self.fails:
            return None
        if start and self.full:
            return Told(Status.FULL)
        if start or saved is None:
            saved = Saved(Token(), NO_DIGEST, Flag(0), next(CLOCK) * 1000, 0, 0, state(0))
        self.runs.append(step.value)
        self.saved = replace(
            saved,
            token=step.token,
            flags=Flag.END if step.end else saved.flags & Flag.STAYS,
            steps=saved.steps + 1,
            since=saved.since + 1,
            states=state(total_of(saved) + step.value),
        )
        self.status = Status.ENDED if step.end else Status.OK
        return Told(Status.OK, self.saved.generation)


def perform(
    course: Course, action: Action, loadings: dict[int, Loading], step: Step | None, rescue: int | None
) -> bool:
    """Do what a course wants, and tell it; False when the run failed for good."""
    loading = loadings[action.loading]
    told: Told | None
    if action.verb is Verb.FETCH:
        told = loading.release(action.to)
    else:
        before = loading.saved, loading.status, loading.moved_to
        told = _put(loading, action)
        if told is None:
            told = loading.run(step, start=action.start) if step is not None else Told(Status.OK)
        if told is None:
            loading.saved, loading.status, loading.moved_to = before  # what fails commits nothing, no state either
        if told is None or told.status is Status.BAD_STATE:
            return course.failed(action, rescue)
    course.heard(action, told)
    return True


def _put(loading: Loading, action: Action) -> Told | None:
    carried = action.carried
    if carried is None:
        return None
    body = replace(unpack(carried.body), generation=carried.generation).pack()
    return loading.put(body, carried.generation, stays=carried.stays)


def go(course: Course, loadings: dict[int, Loading], step: Step | None, rescue: int | None = None) -> str:
    """A whole course with nobody beside it; returns why it was refused, empty when it was not."""
    while True:
        action = course.next()
        if action.verb is Verb.REFUSE:
            return action.reason
        if action.verb is Verb.DONE:
            return ""
        if not perform(course, action, loadings, step, rescue):
            return "failed"
