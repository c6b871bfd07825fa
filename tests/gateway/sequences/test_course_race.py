"""Many gateways at once and in random order: whatever dies between two questions, no step is lost or doubled."""

from __future__ import annotations

import random

import pytest

from changeover.gateway.sequences.course import Course, Map, Verb, Wish
from changeover.sequences.wire import Status
from tests.gateway.sequences.loadings import Loading, Step, go, perform
from tests.gateway.sequences.test_course import A, B, C, begun, one, total, towards, world


class Race:
    """One client, two gateways that die, sweepers at odds with one another, ramps to and fro: in random order."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loadings = world(A, B, C)
        self.hints: list[int | None] = [None, None]
        self.sweeps: list[Course] = []
        self.goal = A
        self.carrier = 0

    def map(self, goal: int, hint: int | None) -> Map:
        """Everything moves everywhere."""
        return towards(goal, *[n for n in self.loadings if n != goal], hint=hint)

    def beside(self) -> None:
        """What others do between two questions of a step."""
        for sweep in [s for s in self.sweeps if self.chance.random() < 0.5]:
            self.sweep(sweep)
        if self.chance.random() < 0.2:
            source, target = self.chance.sample(list(self.loadings), 2)
            self.sweeps.append(Course(Wish.MOVE, self.map(target, source)))
        if self.sweeps and self.chance.random() < 0.1:
            self.sweeps.pop()  # its gateway died, perhaps with a state in hand

    def sweep(self, sweep: Course) -> None:
        """One question of a sweeper."""
        action = sweep.next()
        if action.verb in (Verb.DONE, Verb.REFUSE) or not perform(sweep, action, self.loadings, None, None):
            self.sweeps.remove(sweep)

    def attempt(self, step: Step, wish: Wish) -> bool:
        """One gateway's course; False when that gateway died, or gave up: the client asks again."""
        course = Course(wish, self.map(self.goal, self.hints[self.carrier]))
        while True:
            self.beside()
            if self.chance.random() < 0.05:
                self.hints[self.carrier] = None
                self.carrier = 1 - self.carrier
                return False
            action = course.next()
            if action.verb is Verb.REFUSE:
                assert action.reason == "sequence_moving", action
                return False
            if action.verb is Verb.DONE:
                self.hints[self.carrier] = course.owner
                return True
            assert perform(course, action, self.loadings, step, None)


def race(seed: int) -> tuple[int, int]:
    """The sum that the client expects, and the one in the only live record."""
    run = Race(seed)
    begun(run.loadings, A)
    for number in range(1, 13):
        step = one(number)
        while not run.attempt(step, Wish.STEP):
            pass
        if run.chance.random() < 0.3:
            run.goal = run.chance.choice(list(run.loadings))
    while run.sweeps:
        run.sweep(run.sweeps[0])
    assert not go(Course(Wish.STEP, run.map(run.goal, None)), run.loadings, one(0))
    return 1 + sum(range(1, 13)), total(run.loadings)


def test_no_order_of_events_loses_or_doubles_a_step() -> None:
    """Two gateways, sweepers at odds, carriers that die with a state in hand: the sum is right, in one live record."""
    for seed in range(1500):
        expected, found = race(seed)
        assert found == expected, seed


def test_without_release_the_race_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: a record that is handed out but not marked takes steps at two places."""

    def copy_only(self: Loading, to: int) -> object:
        told = released(self, to)
        if told.status is Status.OK:
            self.status = Status.OK
        return told

    released = Loading.release
    monkeypatch.setattr(Loading, "release", copy_only)
    wrong = 0
    for seed in range(50):
        try:
            expected, found = race(seed)
        except (AssertionError, ValueError):
            wrong += 1
        else:
            wrong += found != expected
    assert wrong > 10
