"""Any events in any order, made up by hypothesis: what always holds of a rollout."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from changeover.errors import Conflict, Internal
from changeover.rollout.course import Course, Place
from changeover.rollout.machine import NOTHING, Command, Event, Phase, Told
from changeover.rollout.plan_rollout import OnInconclusive
from changeover.rollout.transitions import TABLE, advance
from changeover.transport.control import BUCKETS
from tests.rollout.test_transitions import FIRST, NEXT, SHORT

HAPPENS = [
    Event.STEP_CLEAR,
    Event.STEP_FAILED,
    Event.STEP_INCONCLUSIVE,
    Event.UNJUDGED,
    Event.JUDGED,
    Event.LOST,
    Event.SUPERSEDED,
    Event.PAUSE_ASKED,
    Event.RESUME_ASKED,
    Event.PROMOTE_ASKED,
    Event.ABORT_ASKED,
    Event.WEIGHT_ASKED,
    Event.UNDO_ASKED,
    Event.WINDOW_ENDED,
]


COURSES = [Course(), SHORT, Course(manual=True)] + [replace(SHORT, on_inconclusive=what) for what in OnInconclusive]


class World(RuleBasedStateMachine):
    """A driver with its fleet, in which commands fail and the controller dies at any point between two of them.

    The model: who serves how many buckets (`split`), which workers live (`warm`), which of them the table in force
    names, and what is on record.
    """

    @initialize(first=st.booleans(), course=st.sampled_from(COURSES))
    def begin(self, first: bool, course: Course) -> None:
        self.state = replace(FIRST if first else NEXT, course=course)
        self.queue: list[Command] = []
        self.split: dict[str | None, int] = {self.state.source: BUCKETS}
        self.proven = {self.state.source}
        self.warm = {self.state.source}
        self.named = {self.state.source}
        self.step = False
        self.certified: Phase | None = None
        self.history: list[tuple[Phase, Place | None]] = []
        self.feed(Event.STARTED)

    def feed(self, event: Event, told: Told = NOTHING) -> None:
        before = list(self.history)
        self.state, commands = advance(self.state, event, told)
        self.history.append((self.state.phase, self.state.goal))
        assert self.history[:-1] == before
        self.queue = [*commands, *self.queue]

    @precondition(lambda self: self.queue)
    @rule(fails=st.booleans())
    def act(self, fails: bool) -> None:
        """Carry out the next command."""
        command = self.queue.pop(0)
        if command is Command.LOAD:
            self.load(fails)
        elif command in (Command.SPLIT, Command.PROMOTE, Command.MOVE_BACK):
            self.switch(command, fails)
        elif command is Command.WAIT:
            self.feed(Event.WAITED)
        elif command in (Command.RELEASE_SOURCE, Command.RELEASE_CANDIDATE):
            self.release(self.state.source if command is Command.RELEASE_SOURCE else self.state.target)
        elif command is Command.CERTIFY:
            self.certified = self.state.phase

    def load(self, fails: bool) -> None:
        if not fails:
            self.warm.add(self.state.target)
            self.proven.add(self.state.target)
        self.feed(Event.REFUSED if fails else Event.PROVEN)

    def store(self, command: Command) -> None:
        weight = {Command.PROMOTE: BUCKETS, Command.MOVE_BACK: 0}.get(command)
        if weight is None:
            assert self.state.goal is not None
            weight = self.state.goal.weight
        self.split = {self.state.target: weight, self.state.source: BUCKETS - weight}
        self.named = {self.state.source, self.state.target}
        self.step = command is Command.SPLIT

    def switch(self, command: Command, fails: bool) -> None:
        if not fails:
            self.store(command)
        self.feed(Event.NOT_SWITCHED if fails else Event.SWITCHED)

    def release(self, version: str | None) -> None:
        assert not self.split.get(version)
        assert self.state.phase.terminal
        self.named.discard(version)
        self.warm.discard(version)

    @precondition(lambda self: not self.queue)
    @rule(event=st.sampled_from(HAPPENS), weight=st.integers(0, BUCKETS - 1))
    def something_happens(self, event: Event, weight: int) -> None:
        """A verdict, a loss, a newer version, or people; what the phase does not take is refused."""
        before = self.state
        if (before.phase, event) not in TABLE:
            with pytest.raises((Conflict, Internal)):
                advance(before, event)
            return
        try:
            self.feed(event, Told(weight=weight))
        except Conflict:
            assert before.course.manual
            assert self.state == before

    @precondition(lambda self: not self.state.phase.terminal)
    @rule(stored=st.booleans(), cold=st.booleans())
    def crash(self, stored: bool, cold: bool) -> None:
        """The controller dies before or in the middle of its next command, or the machine; another takes over."""
        switching = [c for c in self.queue[:1] if c in (Command.SPLIT, Command.PROMOTE, Command.MOVE_BACK)]
        if stored and switching:
            self.store(switching[0])
        self.queue = []
        self.warm &= self.named  # recovery ends the workers that no table in force names
        promoted = self.split.get(self.state.target) == BUCKETS
        if promoted:
            found = Event.FOUND_SWITCHED
        elif self.state.target not in self.named:
            found = Event.FOUND_UNSWITCHED
        elif self.step:
            found = Event.FOUND_UNSWITCHED if cold else Event.FOUND_SPLIT
        else:
            found = Event.FOUND_BACK
        if found is Event.FOUND_UNSWITCHED:
            self.split, self.named = {self.state.source: BUCKETS}, {self.state.source}
            self.warm &= self.named
        if (self.state.phase, found) in TABLE:
            self.feed(found)
        else:
            assert found is Event.FOUND_SWITCHED  # undone, but not on record: impossible before the promotion
            raise AssertionError(f"{self.state!r} cannot go on from {found}")

    @precondition(lambda self: self.state.phase.terminal and not self.queue)
    @rule(event=st.sampled_from(Event))
    def nothing_follows(self, event: Event) -> None:
        """Once all is carried out no event moves anything."""
        with pytest.raises((Conflict, Internal)):
            advance(self.state, event)

    @invariant()
    def all_buckets_lead_somewhere(self) -> None:
        """They sum to 10,000, and lead to versions that passed their gates and live."""
        assert sum(self.split.values()) == BUCKETS
        serving = {version for version, weight in self.split.items() if weight}
        assert serving <= self.proven
        assert serving <= self.warm | {None}

    @invariant()
    def nothing_drains_before_the_end(self) -> None:
        """Until a terminal phase the old version can take everything back, and what a table names lives."""
        if not self.state.phase.terminal:
            assert self.state.source in self.warm
            assert self.named <= self.warm

    @invariant()
    def a_decision_is_carried_out(self) -> None:
        """At the end one version is left, it is the one decided for, and the certificate says so."""
        if self.state.phase.terminal and not self.queue:
            expected = self.state.target if self.state.phase is Phase.SUCCEEDED else self.state.source
            assert self.split.get(expected) == BUCKETS
            assert self.named - {None} == self.warm - {None} == {expected} - {None}
            assert self.certified is self.state.phase

    @invariant()
    def people_are_not_overridden_in_silence(self) -> None:
        """What goes up by itself is not in anybody's hands."""
        if self.state.phase in (Phase.SHADOWING, Phase.PROGRESSING):
            assert not self.state.held
            assert not self.state.course.manual


World.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
