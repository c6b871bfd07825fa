"""Statistics and the count of stale answers, on records written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.bench.check import Outcome
from changeover.bench.figures import latencies, percentiles, switches, version_ranks, window_figures
from changeover.bench.records import Records, Timing


def make(rows: list[tuple[float, float, str, int]]) -> Records:
    """Records of rows (sent, received, version, epoch); due equals sent."""
    records = Records()
    for sent, received, version, epoch in rows:
        index = records.version_index(version)
        records.add_answer(Timing(sent, sent, received, fresh=False), index, Outcome.OK, epoch)
    return records


def test_percentiles_are_values_that_occurred() -> None:
    """Of 1,000 known latencies each percentile is the one that rank theory names."""
    found = percentiles(np.random.default_rng(0).permutation(np.arange(1, 1001)) / 1e3)
    assert found == {"p50": 500.0, "p90": 900.0, "p99": 990.0, "p99.9": 999.0, "max": 1000.0}
    assert percentiles(np.array([])) == {}


def test_window_takes_requests_by_due_time() -> None:
    """A window counts what was due inside it, half open, and keeps failures out of the latencies."""
    records = make([(0.0, 0.1, "1", 1), (1.0, 1.2, "1", 1), (2.0, 2.4, "1", 1)])
    records.add_failure(Timing(1.5, 1.5, 9.0, fresh=False), 503, "overloaded")
    found = window_figures(records, 1.0, 2.0)
    assert (found["requests"], found["failed"], found["max"]) == (2, 1, pytest.approx(200.0))
    assert len(latencies(records)) == 3


def test_stale_needs_sent_after_first_new_answer_received() -> None:
    """Of three old answers after the switch only the one sent after it is stale."""
    records = make(
        [
            (0.0, 1.0, "1", 0),
            (0.9, 2.0, "2", 1),  # the switch, at 2.0
            (1.9, 3.0, "1", 0),  # sent before
            (2.0, 3.1, "1", 0),  # sent in the same instant: not after
            (2.1, 3.2, "1", 0),  # stale
        ]
    )
    for order in (("1", "2"), ()):
        (switch,) = switches(records, order)
        assert (switch.old, switch.new, switch.at, switch.last_old, switch.stale) == ("1", "2", 2.0, 3.2, 1)


def test_stale_two_versions_back() -> None:
    """An answer of the version before the previous one is stale when anything newer was received before."""
    records = make([(0, 1, "1", -1), (1, 2, "2", -1), (2, 3, "3", -1), (4, 5, "1", -1), (4, 5, "2", -1)])
    found = switches(records, ("1", "2", "3"))
    assert [(s.old, s.new, s.stale) for s in found] == [("1", "2", 1), ("2", "3", 1)]


def test_order_with_a_version_nobody_saw() -> None:
    """A version of the order without any answer is passed over, not counted against anyone."""
    records = make([(0, 1, "1", -1), (2, 3, "3", -1), (4, 5, "3", -1)])
    (switch,) = switches(records, ("1", "2", "3"))
    assert (switch.old, switch.new, switch.at, switch.stale) == ("1", "3", 3.0, 0)


def test_no_answers_no_switches() -> None:
    """Records of failures alone have no switches."""
    records = Records()
    records.add_failure(Timing(0, 0, 1, fresh=False), 0, "timeout")
    assert switches(records) == []
    assert switches(records, ("1", "2")) == []


def test_places_from_epochs_join_epochs_of_one_version() -> None:
    """Epochs 1, 2 of version a, 3 of b, 4 of a are three places; b's answer under epoch 4 belongs to its own."""
    records = make([(0, 1, "a", 1), (1, 2, "a", 2), (2, 3, "b", 3), (3, 4, "a", 4), (3, 5, "a", 4), (3, 5, "b", 4)])
    ranks, names = version_ranks(records)
    assert names == ["a", "b", "a"]
    assert ranks.tolist() == [0, 0, 1, 2, 2, 1]


def test_places_without_epochs_are_those_of_first_appearance() -> None:
    """Without epochs and order the version that answered first comes first."""
    ranks, names = version_ranks(make([(0, 1, "9", -1), (1, 2, "4", -1), (2, 3, "9", -1)]))
    assert names == ["9", "4"]
    assert ranks.tolist() == [0, 1, 0]


def test_a_version_outside_the_order_has_no_place() -> None:
    """A version that `order` does not name is neither new nor stale."""
    ranks, _ = version_ranks(make([(0, 1, "1", 1), (1, 2, "x", 1)]), ("1", "2"))
    assert ranks.tolist() == [0, -1]
