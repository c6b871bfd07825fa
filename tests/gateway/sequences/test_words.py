"""What loadings are told, and what a dead one's slab says."""

from __future__ import annotations

import os
from dataclasses import replace
from time import monotonic_ns
from types import SimpleNamespace
from typing import cast

import pytest

from changeover.errors import Internal
from changeover.gateway.router import Target
from changeover.gateway.sequences import course
from changeover.gateway.sequences.asked import Asked
from changeover.gateway.sequences.course import Action, Carried
from changeover.gateway.sequences.line import Line
from changeover.gateway.sequences.request import Request
from changeover.gateway.sequences.words import ask_of, dead, handed, released, slab_of
from changeover.gateway.ticket import Ticket
from changeover.sequences.declared import Layout
from changeover.sequences.geometry import Geometry
from changeover.sequences.mapping import MapStep
from changeover.sequences.saved import NO_DIGEST, Flag, Saved, Token, unpack
from changeover.sequences.slab import Mark, Slab
from changeover.sequences.wire import Status, Verb
from changeover.transport.page import sealed_memfd
from tests.gateway.sequences.loadings import state, total_of
from tests.gateway.sequences.stateful import stateful

KEY = bytes(range(16))
SAVED = Saved(Token(1, 2), NO_DIGEST, Flag(0), 10, 3, 3, state(6))
GEOMETRY = Geometry(4, 512)
REQUEST = Request(None, Line(KEY, b"\x017"), Token(5, 6), None, Asked(7, True, True))  # type: ignore[arg-type]


def layout() -> Layout:
    """Of a loading with this slab."""
    return Layout([], [], 60.0, 3, "carry", 0, GEOMETRY.slots, GEOMETRY.saved_bytes)


def slab() -> Slab:
    """A slab with one sequence in its second slot."""
    fd = sealed_memfd("slab", GEOMETRY.total)
    made = Slab(fd, GEOMETRY)
    os.close(fd)
    made.claim(1, KEY, b"\x017")
    made.commit(1, SAVED.pack(), monotonic_ns())
    return made


def test_a_live_record_stands_for_what_release_would_say() -> None:
    """With the next generation, so that what is carried is younger than what lies there."""
    told = dead(slab(), KEY, 60.0)
    assert (told.status, told.generation, total_of(unpack(told.body))) == (Status.OK, 11, 6)


@pytest.mark.parametrize(
    ("mark", "status"), [(Mark.RELEASED, Status.MOVED), (Mark.ENDED, Status.ENDED), (Mark.EXPIRED, Status.EXPIRED)]
)
def test_a_tombstone_says_what_it_is(mark: Mark, status: Status) -> None:
    """A released one also where it went."""
    memory = slab()
    memory.mark(1, mark, 9)
    told = dead(memory, KEY, 60.0)
    assert (told.status, told.moved_to) == (status, 9 if mark is Mark.RELEASED else 0)


def test_what_was_released_long_ago_has_expired() -> None:
    """Its receiver may have forgotten by now that it had it; what lives does not expire without its worker."""
    memory = slab()
    memory.touch(1, monotonic_ns() - 61 * 1_000_000_000)
    assert dead(memory, KEY, 60.0).status is Status.OK
    memory.mark(1, Mark.RELEASED, 9)
    told = dead(memory, KEY, 60.0)
    assert (told.status, told.generation, told.body) == (Status.EXPIRED, 10, b"")
    assert dead(memory, KEY, 70.0).status is Status.MOVED


def test_a_dead_slab_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of its sequences asks it, and nothing changes there any more."""
    memory, looks = slab(), []
    places = memory.places
    monkeypatch.setattr(memory, "places", lambda: looks.append(1) or places())
    monkeypatch.setattr(memory, "find", lambda _: pytest.fail("a look at each slot"))
    assert [dead(memory, key, 60.0).status for key in (KEY, bytes(16), KEY)] == [Status.OK, Status.UNKNOWN, Status.OK]
    assert len(looks) == 1


def test_what_is_not_there_is_unknown() -> None:
    """Also without any slab, and where the memory is none."""
    assert dead(slab(), bytes(16), 60.0).status is Status.UNKNOWN
    assert dead(None, KEY, 60.0).status is Status.UNKNOWN
    fd = sealed_memfd("slab", GEOMETRY.total)
    assert slab_of(fd, 1, layout()) is None
    GEOMETRY.lay_out(fd)
    assert slab_of(fd, 1, layout()) is not None
    assert slab_of(fd, 1, None) is None
    os.close(fd)


def test_a_slab_of_another_geometry_is_not_read() -> None:
    """Its worker can write what it likes; what was said when the version was loaded counts."""
    fd = sealed_memfd("slab", GEOMETRY.total)
    Geometry(1, 2_000).lay_out(fd)
    assert Slab(fd).geometry.slots == 1
    assert slab_of(fd, 1, layout()) is None
    os.close(fd)


def test_a_state_travels_with_the_generation_it_gets() -> None:
    """One that is as it was handed out is not packed anew."""
    body = SAVED.pack()
    assert released(Carried(body, 1, 2, 10)) is body
    assert unpack(released(Carried(body, 1, 2, 11))) == replace(SAVED, generation=11)


@pytest.mark.parametrize("generation", [1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_generation_that_no_clock_gives_is_not_carried(generation: int) -> None:
    """Only a broken worker says so; the one that it would go to must be able to count on."""
    with pytest.raises(Internal, match="generation"):
        released(Carried(SAVED.pack(), 1, 2, generation))
    memory = slab()
    memory.commit(1, replace(SAVED, generation=(1 << 64) - 1).pack(), 2)
    assert dead(memory, KEY, 60.0).status is Status.UNKNOWN


def test_a_dead_loading_hands_back_what_the_older_one_knows() -> None:
    """What was carried, as it is; what only its worker could make, not at all. A newer one gets what is there."""
    newer, older = stateful(5, "5"), stateful(5, "5", "map")
    targets = [Target(entry, 1, None) for entry in (newer, older)]  # type: ignore[arg-type]
    told = dead(slab(), KEY, 60.0)
    back = handed(told, targets[0], 3)
    assert back is not None
    assert (unpack(back.body).flags, total_of(unpack(back.body)), back.generation) == (Flag.BACK, 6, 11)
    assert handed(told, targets[1], 3) is None
    assert [handed(told, target, 7) for target in targets] == [told, told]
    misfit = Target(stateful(5, "5", "map", back=(MapStep(rename={"no": "h"}),)), 1, None)  # type: ignore[arg-type]
    assert handed(told, misfit, 3) is None
    moved = told._replace(status=Status.MOVED, moved_to=9)
    assert handed(moved, targets[1], 3) == moved


def test_each_action_has_its_verb() -> None:
    """Without a client's ticket nothing is run, whatever is carried."""
    carried = Carried(SAVED.pack(), 1, 2, 10, stays=True)
    put = ask_of(Action(course.Verb.PUT, 2, carried=carried), REQUEST, None)
    assert (put.verb, put.flags, put.generation) == (Verb.IMPORT, Flag.STAYS, 10)
    fetch = ask_of(Action(course.Verb.FETCH, 1, 2), REQUEST, None)
    assert (fetch.verb, fetch.to, fetch.body) == (Verb.RELEASE, 2, b"")


def test_a_step_is_known_again_by_its_id_and_inputs() -> None:
    """Of a client that gives all its requests one id, two with other inputs are two; without an id none is known."""

    def digest(request_id: str, total: int) -> bytes:
        asked = SimpleNamespace(id=request_id, inputs=list(state(total)))
        return ask_of(Action(course.Verb.RUN, 1), REQUEST, cast(Ticket, SimpleNamespace(asked=asked))).digest

    assert digest("x", 1) == digest("x", 1)
    assert len({digest("x", 1), digest("x", 2), digest("y", 1)}) == 3
    assert digest("", 1) == NO_DIGEST
