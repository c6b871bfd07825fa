"""Where a sequence's record may be and where it belongs."""

from __future__ import annotations

import pytest

from changeover.errors import InvalidRequest, NotFound
from changeover.gateway.batcher import Batcher
from changeover.gateway.router import Model, Table, Target
from changeover.gateway.sequences.course import Way
from changeover.gateway.sequences.line import Line
from changeover.gateway.sequences.where import moves, where
from changeover.gateway.strata import bucket_of
from changeover.transport.control import RoutingTable
from tests.gateway.sequences.stateful import stateful

OLD, NEW = 1, 2


def model(weight: int = 10_000, *, way: str = "carry", shield: bool = False, candidate: bool = True) -> Model:
    """`weight` buckets go to the new version, the candidate; the others to the old one, the active."""
    entries = [stateful(OLD, "3"), stateful(NEW, "4", way)]
    targets = {e.loading: Target(e, 1, Batcher(e, None, None, None)) for e in entries}  # type: ignore[arg-type]
    buckets = [b for b in ((weight, NEW), (10_000 - weight, OLD)) if b[0]]
    more = {"candidate": NEW, "shield": shield} if candidate else {}
    record = RoutingTable("m", 1, 5, buckets, entries, OLD if candidate else NEW, **more)  # type: ignore[arg-type]
    words = memoryview(bytearray(64)).cast("Q")
    words[1] = 5
    made = Model("m", 1, words)
    made.prepared = {5: Table(record, targets)}
    made.refresh()
    return made


def line(bucket: range) -> Line:
    """Of a sequence whose bucket is one of these."""
    key = next(k for n in range(100_000) if bucket_of(k := n.to_bytes(16)) in bucket)
    return Line(key, b"\x017")


def test_the_bucket_of_the_key_is_the_goal() -> None:
    """So a ramp moves a sequence once, and all gateways agree."""
    ramp = model(5000)
    assert where(ramp, (), line(range(5000)), None, begins=False).map.goal == NEW
    found = where(ramp, (), line(range(5000, 10_000)), None, begins=False)
    assert (found.map.goal, found.map.ways, found.epoch) == (OLD, {NEW: Way.MOVE}, 5)


@pytest.mark.parametrize(("way", "expected"), [("carry", Way.MOVE), ("drain", Way.STAY), ("reset", Way.RESET)])
def test_the_newer_versions_plan_counts_in_both_directions(way: str, expected: Way) -> None:
    """What was carried there is carried back."""
    assert where(model(way=way), (), line(range(10_000)), None, begins=False).map.ways == {OLD: expected}
    assert where(model(0, way=way), (), line(range(10_000)), None, begins=False).map.ways == {NEW: expected}
    assert moves(model(way=way, candidate=False), model(way=way).table.targets[OLD]) is (expected is Way.MOVE)  # type: ignore[union-attr]


def test_who_names_a_version_begins_there_and_is_left_there() -> None:
    """Later steps go to the record, wherever the bucket is."""
    ramp, mine = model(), line(range(10_000))
    assert where(ramp, (), mine, "3", begins=True).map.goal == OLD
    assert where(ramp, (), mine, "3", begins=False).map.ways == {OLD: Way.STAY}, "it began at another gateway"
    mine.owner = OLD
    assert where(ramp, (), mine, "3", begins=False).map.ways == {OLD: Way.STAY}
    assert where(ramp, (), mine, None, begins=False).map.ways == {OLD: Way.MOVE}
    with pytest.raises(NotFound):
        where(ramp, (), mine, "9", begins=True)


def test_what_the_shield_has_put_somewhere_stays() -> None:
    """While that version is the active one or has traffic."""
    mine = line(range(10_000))
    mine.owner, mine.stays = OLD, True
    assert where(model(), (), mine, None, begins=False).map.ways == {OLD: Way.STAY}
    assert where(model(candidate=False), (), mine, None, begins=False).map.ways == {OLD: Way.MOVE}


def test_the_active_version_rescues_what_a_shielded_candidate_fails() -> None:
    """And is where sequences begin while the budget of replays is empty; those under way go on as at other gateways."""
    shielded, mine = model(shield=True), line(range(10_000))
    found = where(shielded, (), mine, None, begins=False)
    assert (found.rescue, found.keyed) == (OLD, False)
    assert where(model(), (), mine, None, begins=False).keyed
    while not shielded.budget.empty:
        shielded.budget.spend()
    found = where(shielded, (), mine, None, begins=True)
    assert (found.map.goal, found.rescue) == (OLD, None)
    assert where(shielded, (), mine, None, begins=False).map.goal == NEW


def test_where_no_named_version_keeps_sequences_a_step_is_refused() -> None:
    """One that waited while a version without state took over."""
    routed = model(candidate=False)
    routed.table.active.sequence = routed.table.targets[OLD].sequence = None  # type: ignore[union-attr]
    held = Target(stateful(7, "7"), 1, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="no sequences any more"):
        where(routed, [held], line(range(10_000)), None, begins=False)


def test_a_record_can_be_meant_for_another_place_than_its_goal() -> None:
    """There a state goes that was handed out for it, before that loading is let go."""
    found = where(model(), (), line(range(10_000)), None, begins=False)
    other = found.towards(OLD)
    assert (found.map.goal, other.map.goal, other.map.ways, other.epoch) == (NEW, OLD, {NEW: Way.MOVE}, found.epoch)


def test_a_loading_that_is_held_is_asked_too() -> None:
    """Though no table names it any more; one of another kind is not."""
    routed, entry = model(), stateful(7, "7")
    held = Target(entry, 1, Batcher(entry, None, None, None))  # type: ignore[arg-type]
    found = where(routed, [held], line(range(10_000)), None, begins=False)
    assert set(found.map.places) == {OLD, NEW, 7}
    assert 7 not in found.map.binding
