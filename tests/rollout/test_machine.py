"""The rollout's machine: its ways, what it refuses, and what holds whatever happens."""

from __future__ import annotations

import re

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from changeover.errors import Conflict, Internal
from changeover.rollout.machine import Command, Event, Phase, Rollout, advance, diagram

NEXT = Rollout("mnist", "3", "4")
FIRST = Rollout("mnist", None, "1")


def walked(state: Rollout, *events: Event) -> tuple[list[str], list[Command]]:
    """Phases gone through and all commands given."""
    phases, given = [], []
    for event in events:
        state, commands = advance(state, event)
        phases.append(state.phase.value)
        given += commands
    return phases, given


def test_a_changeover_that_goes_well() -> None:
    """Load, promote, keep the old version warm, certify the switch, release the old version, certify the whole."""
    phases, given = walked(NEXT, Event.STARTED, Event.PROVEN, Event.SWITCHED, Event.WINDOW_ENDED)
    assert phases == ["validating", "promoting", "watching", "succeeded"]
    assert given == [
        Command.LOAD,
        Command.PROMOTE,
        Command.OPEN_WINDOW,
        Command.CERTIFY,
        Command.RELEASE_SOURCE,
        Command.CERTIFY,
    ]


def test_a_first_version_is_not_watched() -> None:
    """There is nothing to go back to, and nothing to release."""
    phases, given = walked(FIRST, Event.STARTED, Event.PROVEN, Event.SWITCHED)
    assert phases == ["validating", "promoting", "succeeded"]
    assert given == [Command.LOAD, Command.PROMOTE, Command.CERTIFY]


@pytest.mark.parametrize("event", [Event.UNDO_ASKED, Event.REFUSED])
def test_the_way_back(event: Event) -> None:
    """An undo, and a candidate that is lost for good, move everything back, then release the candidate."""
    phases, given = walked(NEXT, Event.STARTED, Event.PROVEN, Event.SWITCHED, event, Event.SWITCHED)
    assert phases[-2:] == ["rolling_back", "rolled_back"]
    assert given[-3:] == [Command.MOVE_BACK, Command.RELEASE_CANDIDATE, Command.CERTIFY]


def test_a_refusal_leaves_the_old_version() -> None:
    """A gate that fails ends the rollout before any switch, with its reason."""
    state, _ = advance(NEXT, Event.STARTED)
    state, commands = advance(state, Event.REFUSED, reason="not_finite", detail="output y has a NaN")
    assert (state.phase, state.reason, state.detail) == (Phase.FAILED, "not_finite", "output y has a NaN")
    assert commands == (Command.CERTIFY,)
    assert repr(state) == "<Rollout mnist 3→4 failed (not_finite)>"


def test_a_switch_that_was_given_up_releases_the_candidate() -> None:
    """When the journal cannot be written the candidate never serves."""
    phases, given = walked(NEXT, Event.STARTED, Event.PROVEN, Event.NOT_SWITCHED)
    assert phases[-1] == "failed"
    assert given[-2:] == [Command.RELEASE_CANDIDATE, Command.CERTIFY]


def test_a_way_back_that_failed_may_be_asked_for_again() -> None:
    """The source stays warm."""
    state = Rollout("mnist", "3", "4", Phase.ROLLING_BACK)
    state, commands = advance(state, Event.NOT_SWITCHED, reason="journal_unwritable", detail="disk full")
    assert (state.phase, commands) == (Phase.WATCHING, (Command.OPEN_WINDOW,))
    assert advance(state, Event.UNDO_ASKED)[0].phase is Phase.ROLLING_BACK


@pytest.mark.parametrize(
    ("phase", "found", "after", "commands"),
    [
        (Phase.PENDING, Event.FOUND_UNSWITCHED, Phase.VALIDATING, (Command.LOAD,)),
        (Phase.VALIDATING, Event.FOUND_UNSWITCHED, Phase.VALIDATING, (Command.LOAD,)),
        (Phase.PROMOTING, Event.FOUND_UNSWITCHED, Phase.VALIDATING, (Command.LOAD,)),
        (Phase.PROMOTING, Event.FOUND_SWITCHED, Phase.WATCHING, (Command.OPEN_WINDOW,)),
        (Phase.WATCHING, Event.FOUND_SWITCHED, Phase.WATCHING, (Command.OPEN_WINDOW,)),
        (Phase.WATCHING, Event.FOUND_UNSWITCHED, Phase.ROLLED_BACK, (Command.RELEASE_CANDIDATE, Command.CERTIFY)),
        (Phase.ROLLING_BACK, Event.FOUND_SWITCHED, Phase.ROLLING_BACK, (Command.MOVE_BACK,)),
        (Phase.ROLLING_BACK, Event.FOUND_UNSWITCHED, Phase.ROLLED_BACK, (Command.RELEASE_CANDIDATE, Command.CERTIFY)),
    ],
)
def test_a_restart_goes_on_by_what_serves(
    phase: Phase, found: Event, after: Phase, commands: tuple[Command, ...]
) -> None:
    """After a crash of the controller the table in force decides."""
    state, given = advance(Rollout("mnist", "3", "4", phase), found)
    assert (state.phase, given) == (after, commands)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.WATCHING])
def test_undo_without_a_warm_version_is_a_conflict(phase: Phase) -> None:
    """The caller is told, not the log."""
    with pytest.raises(Conflict) as caught:
        advance(Rollout("mnist", "3", "4", phase), Event.UNDO_ASKED)
    assert caught.value.reason == "no_standby"


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.terminal])
@pytest.mark.parametrize("event", [event for event in Event if event is not Event.UNDO_ASKED])
def test_a_terminal_phase_is_final(phase: Phase, event: Event) -> None:
    """Nothing follows a decision."""
    with pytest.raises(Internal) as caught:
        advance(Rollout("mnist", "3", "4", phase), event)
    assert caught.value.reason == "rollout_transition"


def test_repr_is_a_sentence_for_operators() -> None:
    """Model, from, to, phase."""
    assert repr(Rollout("mnist", "3", "4", Phase.PROMOTING)) == "<Rollout mnist 3→4 promoting>"
    assert repr(FIRST) == "<Rollout mnist -→1 pending>"


def test_the_diagram_shows_each_phase_and_only_true_arrows() -> None:
    """Every arrow of the figure is what the machine does."""
    arrows = re.findall(r"^    (\w+) --> (\w+): (\w+)$", diagram(), re.MULTILINE)
    for before, after, event in arrows:
        outcomes = {advance(Rollout("m", source, "2", Phase(before)), Event(event))[0].phase for source in ("1", None)}
        assert Phase(after) in outcomes
    assert {after for _, after, _ in arrows} == {phase.value for phase in Phase} - {"pending"}


class World(RuleBasedStateMachine):
    """A driver with its fleet, in which commands fail and the controller dies at any point between two of them."""

    @initialize(first=st.booleans())
    def begin(self, first: bool) -> None:
        self.state = FIRST if first else NEXT
        self.queue: list[Command] = []
        self.serving = self.state.source
        self.proven = {self.state.source} - {None}
        self.warm = {self.state.source} - {None}
        self.named = {self.state.source} - {None}
        self.certified: Phase | None = None
        self.feed(Event.STARTED)

    def feed(self, event: Event) -> None:
        self.state, commands = advance(self.state, event)
        self.queue = [*commands, *self.queue]

    @precondition(lambda self: self.queue)
    @rule(fails=st.booleans())
    def act(self, fails: bool) -> None:
        """Carry out the next command."""
        command = self.queue.pop(0)
        if command is Command.LOAD:
            self.load(fails)
        elif command in (Command.PROMOTE, Command.MOVE_BACK):
            self.switch(self.state.target if command is Command.PROMOTE else self.state.source, fails)
        elif command in (Command.RELEASE_SOURCE, Command.RELEASE_CANDIDATE):
            self.release(self.state.source if command is Command.RELEASE_SOURCE else self.state.target)
        elif command is Command.CERTIFY:
            self.certified = self.state.phase

    def load(self, fails: bool) -> None:
        if not fails:
            self.warm.add(self.state.target)
            self.proven.add(self.state.target)
        self.feed(Event.REFUSED if fails else Event.PROVEN)

    def switch(self, to: str | None, fails: bool) -> None:
        if not fails:
            self.serving = to
            self.named = {to, self.state.source, self.state.target} - {None}
        self.feed(Event.NOT_SWITCHED if fails else Event.SWITCHED)

    def release(self, version: str | None) -> None:
        assert version != self.serving
        self.named.discard(version)
        self.warm.discard(version)

    @precondition(lambda self: self.state.phase is Phase.WATCHING and not self.queue)
    @rule(event=st.sampled_from([Event.UNDO_ASKED, Event.WINDOW_ENDED, Event.REFUSED]))
    def something_happens(self, event: Event) -> None:
        """While the candidate is watched: an undo, the end of the window, the loss of the candidate."""
        self.feed(event)

    @precondition(lambda self: not self.state.phase.terminal)
    @rule(stored=st.booleans())
    def crash(self, stored: bool) -> None:
        """The controller dies before or in the middle of its next command; another takes over."""
        switching = [command for command in self.queue[:1] if command in (Command.PROMOTE, Command.MOVE_BACK)]
        if stored and switching:
            self.serving = self.state.target if switching == [Command.PROMOTE] else self.state.source
            self.named = {self.serving, self.state.source, self.state.target} - {None}
        self.queue = []
        self.warm &= self.named  # recovery ends the workers that no table in force names
        switched = self.serving == self.state.target
        self.feed(Event.FOUND_SWITCHED if switched else Event.FOUND_UNSWITCHED)

    @precondition(lambda self: self.state.phase.terminal and not self.queue)
    @rule(event=st.sampled_from(Event))
    def nothing_follows(self, event: Event) -> None:
        """Once all is carried out no event moves anything."""
        with pytest.raises((Conflict, Internal)):
            advance(self.state, event)

    @invariant()
    def only_proven_versions_serve(self) -> None:
        """No bucket ever leads to a version that did not pass its gates."""
        assert self.serving in self.proven | {None}

    @invariant()
    def what_serves_is_warm(self) -> None:
        """The serving version is never released; the other not before a terminal phase."""
        assert self.serving in self.warm | {None}
        if not self.state.phase.terminal:
            assert {self.state.source} - {None} <= self.warm
            assert self.named <= self.warm

    @invariant()
    def a_decision_is_carried_out(self) -> None:
        """At the end one version is left, it is the one decided for, and the certificate says so."""
        if self.state.phase.terminal and not self.queue:
            expected = self.state.target if self.state.phase is Phase.SUCCEEDED else self.state.source
            assert self.serving == expected
            assert self.named == self.warm == {expected} - {None}
            assert self.certified is self.state.phase


World.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
TestWorld = World.TestCase
