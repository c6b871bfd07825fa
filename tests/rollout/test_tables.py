"""Routing tables as they are drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from changeover.rollout.tables import Draft, Share, Watch, all_to, split, weight_of, with_draining
from changeover.transport.control import BUCKETS, LoadingEntry
from tests.rollout.memory_fleet import signature

OLD = LoadingEntry(7, "3", "a" * 64, signature(), 32, 30.0)
NEW = LoadingEntry(9, "4", "b" * 64, signature(), 8, 5.0)
DRAFT = Draft("mnist", 5, 12)


def test_all_buckets_go_to_the_active_loading() -> None:
    """Alone, it is the only one named: whatever served before may be drained."""
    table = all_to(DRAFT, NEW)
    assert (table.model, table.word, table.epoch) == ("mnist", 5, 12)
    assert table.buckets == [(BUCKETS, 9)]
    assert table.loadings == [NEW]
    assert (table.active, table.standby, table.candidate) == (9, None, None)


def test_a_standby_is_named_and_gets_no_bucket() -> None:
    """It is kept warm, and can be asked for by its version, but no bucket leads to it."""
    table = all_to(DRAFT, NEW, standby=OLD)
    assert table.buckets == [(BUCKETS, 9)]
    assert table.loadings == [NEW, OLD]
    assert (table.active, table.standby) == (9, 7)


def test_what_is_held_back_is_the_last_buckets() -> None:
    """They were the old version's all the time: no key flips back for them."""
    table = all_to(DRAFT, NEW, standby=OLD, watch=Watch(100, finite=True))
    assert table.buckets == [(9_900, 9), (100, 7)]
    assert (table.finite, table.mirror) == (True, BUCKETS)
    plain = all_to(DRAFT, NEW, standby=OLD)
    assert (plain.finite, plain.mirror) == (False, 0)
    assert all_to(DRAFT, NEW, watch=Watch(100)).buckets == [(BUCKETS, 9)]


def test_the_way_back_names_the_candidate() -> None:
    """It must not drain before the rollout has ended; nothing of a step is left in force."""
    table = all_to(DRAFT, OLD, candidate=NEW)
    assert table.buckets == [(BUCKETS, 7)]
    assert (table.active, table.candidate, table.standby) == (7, 9, None)
    assert table.loadings == [OLD, NEW]
    assert (table.step, table.shield, table.mirror) == ("", False, 0)


def test_a_step() -> None:
    """The first buckets to the candidate, with all that the gateways do for it."""
    table = split(DRAFT, OLD, NEW, Share(500, "5%", 0, shield=True, finite=False))
    assert table.buckets == [(500, 9), (9_500, 7)]
    assert (table.active, table.candidate, table.standby) == (7, 9, None)
    assert (table.step, table.shield, table.finite, table.mirror) == ("5%", True, False, 0)


def test_a_shadow_has_no_bucket() -> None:
    """Only copies reach it."""
    table = split(DRAFT, OLD, NEW, Share(0, "shadow", BUCKETS))
    assert table.buckets == [(BUCKETS, 7)]
    assert (table.candidate, table.mirror) == (9, BUCKETS)


@given(st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_the_buckets_are_always_all(weight: int, holdback: int) -> None:
    """Whatever the share: they sum to 10,000, and each run leads to a loading that is named."""
    for table in (split(DRAFT, OLD, NEW, Share(weight, "x")), all_to(DRAFT, NEW, standby=OLD, watch=Watch(holdback))):
        assert sum(count for count, _ in table.buckets) == BUCKETS
        assert all(count for count, _ in table.buckets)
        assert {number for _, number in table.buckets} <= {entry.loading for entry in table.loadings}


@pytest.mark.parametrize(("loading", "weight"), [(9, 500), (7, 9_500), (1, 0)])
def test_the_weight_of_a_loading(loading: int, weight: int) -> None:
    """As the table has it."""
    assert weight_of(split(DRAFT, OLD, NEW, Share(500, "5%")), loading) == weight


def test_what_a_table_leaves_is_known_as_draining_until_it_is_released() -> None:
    """Of the table in force and of the one drawn with it; what never was named is no part of it."""
    older = LoadingEntry(5, "2", "c" * 64, signature(), 32, 30.0)
    in_force = replace(all_to(DRAFT, OLD), draining=[older])
    forward, back = with_draining(in_force, [all_to(DRAFT, NEW), all_to(DRAFT, OLD)], {5, 7, 9, 11})
    assert forward.draining == [OLD, older]
    assert back.draining == [older, NEW]
    (later,) = with_draining(forward, [all_to(DRAFT, NEW)], {7, 9})
    assert later.draining == [OLD]
    assert with_draining(None, [in_force], {5, 7})[0].draining == []
