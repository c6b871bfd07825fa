"""The way of a step to its record: every line of the table (`test_course_race` has many gateways at once)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import pytest

from changeover.gateway.sequences.course import Course, Map, Verb, Way, Wish
from changeover.sequences.saved import Token
from changeover.sequences.wire import Status, Told
from tests.gateway.sequences.loadings import Loading, Step, go, perform, total_of

A, B, C = 1, 2, 3
_NUMBERS = count(1)


def one(value: int = 1, *, end: bool = False) -> Step:
    """A step with a token of its own."""
    return Step(Token(9, next(_NUMBERS)), value, end=end)


def world(*numbers: int) -> dict[int, Loading]:
    """Loadings that have nothing yet."""
    return {n: Loading(n) for n in numbers or (A, B)}


def towards(goal: int, *others: int, way: Way = Way.MOVE, hint: int | None = None, binds: bool = True) -> Map:
    """A map with the same way from everywhere."""
    ways: Mapping[int, Way] = dict.fromkeys(others, way)
    return Map(goal, (goal, *others), ways, frozenset((goal, *others) if binds else ()), hint)


def begun(loadings: dict[int, Loading], at: int, steps: int = 1) -> None:
    """A sequence of so many steps of 1 at a loading."""
    for number in range(steps):
        assert not go(Course(Wish.STEP if number else Wish.BEGIN, towards(at)), loadings, one())


def total(loadings: dict[int, Loading]) -> int:
    """The state of the one live record."""
    (found,) = [x.saved for x in loadings.values() if x.saved is not None and x.status is Status.OK]
    return total_of(found)


def test_a_step_goes_to_its_owner_and_runs_once() -> None:
    """The simple case asks one loading."""
    loadings = world()
    begun(loadings, A, 3)
    course = Course(Wish.STEP, towards(A, B, hint=A))
    assert not go(course, loadings, one(5))
    assert (course.owner, total(loadings), loadings[B].saved) == (A, 8, None)


def test_a_record_moves_to_its_goal_at_the_next_step() -> None:
    """And the step runs there, on the state that was."""
    loadings = world()
    begun(loadings, A, 3)
    course = Course(Wish.STEP, towards(B, A, hint=A))
    assert not go(course, loadings, one(5))
    assert (course.owner, total(loadings), loadings[B].runs) == (B, 8, [5])


def test_a_gateway_that_knows_nothing_finds_the_record() -> None:
    """It asks the goal first, then the others; a record that has moved says where."""
    loadings = world(A, B, C)
    begun(loadings, A, 2)
    assert not go(Course(Wish.STEP, towards(C, A, B)), loadings, one())
    assert loadings[C].runs == [1]
    course = Course(Wish.STEP, towards(B, A, C, hint=A))
    assert not go(course, loadings, one())
    assert (course.owner, total(loadings)) == (B, 4)


def test_what_is_to_stay_stays() -> None:
    """With `drain` the goal changes nothing for a sequence that is there."""
    loadings = world()
    begun(loadings, A, 2)
    course = Course(Wish.STEP, towards(B, A, way=Way.STAY))
    assert not go(course, loadings, one())
    assert (course.owner, total(loadings), loadings[B].saved) == (A, 3, None)


def test_a_reset_begins_anew_and_says_so() -> None:
    """The old record never comes back; also when the gateway died before the new one began."""
    for died in (False, True):
        loadings = world()
        begun(loadings, A, 2)
        if died:
            loadings[A].release(B)
        course = Course(Wish.STEP, towards(B, A, way=Way.RESET))
        assert not go(course, loadings, one(7))
        assert (course.reset, course.owner, total(loadings)) == (True, B, 7)
        course = Course(Wish.STEP, towards(B, A, way=Way.RESET))
        assert not go(course, loadings, one(1))
        assert (course.reset, course.owner, total(loadings)) == (False, B, 8)
    unknown = Course(Wish.STEP, towards(B, A, way=Way.RESET))
    assert go(unknown, world(), one()) == "sequence_unknown"
    assert not unknown.reset


def test_a_state_that_never_arrived_is_fetched_again() -> None:
    """Its carrier died between RELEASE and IMPORT; the next step carries it on."""
    loadings = world()
    begun(loadings, A, 4)
    loadings[A].release(B)
    course = Course(Wish.STEP, towards(B, A, hint=A))
    assert not go(course, loadings, one())
    assert (course.owner, total(loadings)) == (B, 5)


def test_a_state_on_its_way_arrives_where_it_was_sent() -> None:
    """Also when the goal has changed meanwhile: two gateways that carry it on must do the same."""
    loadings = world()
    begun(loadings, A, 4)
    loadings[A].release(B)
    course = Course(Wish.STEP, towards(A, B))
    assert not go(course, loadings, one())
    assert (loadings[B].saved is not None, total(loadings)) == (True, 5)


@pytest.mark.parametrize(("end", "reason"), [(True, "sequence_ended"), (False, "sequence_unknown")])
def test_what_nobody_has_is_refused(end: bool, reason: str) -> None:
    """With the most exact reason that anybody gave."""
    loadings = world()
    if end:
        assert not go(Course(Wish.BEGIN, towards(A)), loadings, one(end=True))
    assert go(Course(Wish.STEP, towards(B, A)), loadings, one()) == reason


def test_a_state_whose_receiver_is_gone_is_lost_and_said_to_be() -> None:
    """Never silently begun from an older one."""
    loadings = world(A, B)
    begun(loadings, A, 2)
    loadings[A].release(C)
    assert go(Course(Wish.STEP, towards(B, A)), loadings, one()) == "sequence_lost"


def test_a_full_receiver_sends_the_state_home() -> None:
    """The step runs where it was, and the sequence stays there."""
    loadings = world()
    begun(loadings, A, 3)
    loadings[B].full = True
    course = Course(Wish.STEP, towards(B, A, hint=A))
    assert not go(course, loadings, one())
    assert (course.owner, course.stays, total(loadings)) == (A, True, 4)


def test_a_state_whose_receiver_is_let_go_meanwhile_goes_home() -> None:
    """The goal was rolled back between RELEASE and PUT: the step runs where the sequence was."""
    loadings = world()
    begun(loadings, A, 3)
    course = Course(Wish.STEP, towards(B, A, hint=A))
    action = course.next()
    perform(course, action, loadings, None, None)
    action = course.next()
    assert (action.verb, action.loading) == (Verb.PUT, B)
    course.heard(action, Told(Status.UNKNOWN))
    assert not go(course, loadings, one())
    assert (course.owner, total(loadings), loadings[B].saved) == (A, 4, None)


def test_a_state_that_nobody_takes_is_lost_and_said_to_be() -> None:
    """Neither where it was to go nor where it came from: the refusal is no caller's fault, and comes at once."""
    loadings = world()
    begun(loadings, A, 3)
    course = Course(Wish.STEP, towards(B, A, hint=A))
    perform(course, course.next(), loadings, None, None)
    for place in (B, A):
        action = course.next()
        assert (action.verb, action.loading) == (Verb.PUT, place)
        course.heard(action, Told(Status.UNKNOWN))
    assert course.next().reason == "sequence_lost"


def test_a_full_loading_begins_nothing() -> None:
    """The refusal names the reason."""
    loadings = world()
    loadings[A].full = True
    assert go(Course(Wish.BEGIN, towards(A, B)), loadings, one()) == "sequences_full"


def test_a_receiver_that_cannot_take_the_state_sends_it_home() -> None:
    """A layout that no gate has seen costs the client nothing."""
    loadings = world()
    begun(loadings, A, 3)
    loadings[B].refuses = True
    course = Course(Wish.STEP, towards(B, A, hint=A))
    assert not go(course, loadings, one())
    assert (course.owner, course.stays, total(loadings)) == (A, True, 4)


def test_a_state_that_cannot_be_handed_out_stays() -> None:
    """There is no way back for it, so its steps go on where it is."""
    loadings = world()
    begun(loadings, A, 3)
    loadings[A].keeps = True
    course = Course(Wish.STEP, towards(B, A, hint=A))
    assert not go(course, loadings, one())
    assert (course.owner, total(loadings)) == (A, 4)


@pytest.mark.parametrize("owner", [A, B])
def test_the_active_version_takes_over_what_the_candidate_fails(owner: int) -> None:
    """With the state before the step, whether the record was moved by this step or was there before."""
    loadings = world()
    begun(loadings, owner, 3)
    loadings[B].fails = True
    course = Course(Wish.STEP, towards(B, A, hint=owner))
    assert not go(course, loadings, one(), rescue=A)
    assert (course.owner, course.stays, total(loadings)) == (A, True, 4)


@pytest.mark.parametrize("left", ["released", "ended", "live"])
def test_what_a_failing_candidate_has_from_earlier_does_not_count(left: str) -> None:
    """A tombstone of a ramp before, or a stale record: the state in hand is the younger one, and goes home."""
    loadings = world()
    begun(loadings, B)
    if left == "released":
        assert not go(Course(Wish.STEP, towards(A, B, hint=B)), loadings, one(2))
    else:
        if left == "ended":
            assert loadings[B].forget(1 << 60).status is Status.OK
        begun(loadings, A, 3)
    loadings[B].fails = True
    before, course = total_of(loadings[A].saved), Course(Wish.STEP, towards(B, A, hint=A))  # type: ignore[arg-type]
    assert not go(course, loadings, one(), rescue=A)
    assert (course.owner, course.stays, loadings[A].status) == (A, True, Status.OK)
    assert total_of(loadings[A].saved) == before + 1  # type: ignore[arg-type]
    assert loadings[B].runs == [1]


def test_a_beginning_that_the_candidate_fails_is_the_active_versions() -> None:
    """Nothing was committed, so nothing is carried."""
    loadings = world()
    loadings[B].fails = True
    course = Course(Wish.BEGIN, towards(B, A))
    assert not go(course, loadings, one(3), rescue=A)
    assert (course.owner, total(loadings)) == (A, 3)


def test_a_failure_that_nobody_can_rescue_is_one() -> None:
    """The state is as before."""
    loadings = world()
    begun(loadings, A, 3)
    loadings[A].fails = True
    assert go(Course(Wish.STEP, towards(A, B, hint=A)), loadings, one()) == "failed"
    assert total(loadings) == 3


def test_what_the_shield_has_put_somewhere_stays_while_that_has_traffic() -> None:
    """A gateway that does not know puts it back; once the loading has none it moves."""
    loadings = world()
    begun(loadings, B, 2)
    loadings[B].fails = True
    assert not go(Course(Wish.STEP, towards(B, A, hint=B)), loadings, one(), rescue=A)
    loadings[B].fails = False
    course = Course(Wish.STEP, towards(B, A, hint=A))
    assert not go(course, loadings, one())
    assert (course.owner, course.stays, total(loadings)) == (A, True, 4)
    course = Course(Wish.STEP, towards(B, A, hint=A, binds=False))
    assert not go(course, loadings, one())
    assert (course.owner, total(loadings)) == (B, 5)


def test_a_move_without_a_step_changes_nothing_but_the_place() -> None:
    """The sweeper's; where there is nothing to move it is done at once."""
    loadings = world()
    begun(loadings, A, 3)
    for _ in range(2):
        assert not go(Course(Wish.MOVE, towards(B, A, hint=A)), loadings, None)
        assert (total(loadings), loadings[B].runs, loadings[A].status) == (3, [], Status.MOVED)
