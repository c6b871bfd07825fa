"""Routing tables as they are drawn."""

from __future__ import annotations

from changeover.rollout.tables import all_to
from changeover.transport.control import BUCKETS, LoadingEntry
from tests.rollout.memory_fleet import signature

OLD = LoadingEntry(7, "3", "a" * 64, signature(), 32, 30.0)
NEW = LoadingEntry(9, "4", "b" * 64, signature(), 8, 5.0)


def test_all_buckets_go_to_the_active_loading() -> None:
    """Alone, it is the only one named: whatever served before may be drained."""
    table = all_to("mnist", 5, 12, NEW)
    assert (table.model, table.word, table.epoch) == ("mnist", 5, 12)
    assert table.buckets == [(BUCKETS, 9)]
    assert table.loadings == [NEW]
    assert (table.active, table.standby, table.candidate) == (9, None, None)


def test_a_standby_is_named_and_gets_no_bucket() -> None:
    """It is kept warm, and can be asked for by its version, but no bucket leads to it."""
    table = all_to("mnist", 5, 12, NEW, standby=OLD)
    assert table.buckets == [(BUCKETS, 9)]
    assert table.loadings == [NEW, OLD]
    assert (table.active, table.standby) == (9, 7)
