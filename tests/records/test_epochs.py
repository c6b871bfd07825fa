"""Epochs: numbers come once, only intended tables are decided, the highest decision is found again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.errors import Internal
from changeover.records.epochs import EpochState
from changeover.records.journal import Journal
from changeover.transport.control import RoutingTable, encode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as opened:
        yield opened


def decide(journal: Journal, table: bytes = b"t", model: str = "m") -> int:
    """Allocate, intend and commit one epoch."""
    [epoch] = journal.epochs.allocate(model)
    journal.epochs.intend(model, epoch, table, term=1)
    journal.epochs.commit(model, epoch)
    return epoch


def reason(caught: pytest.ExceptionInfo[Internal]) -> str:
    return caught.value.reason


def test_numbers_rise_for_each_model(journal: Journal) -> None:
    """Several at once are neighbours; models count for themselves."""
    assert journal.epochs.allocate("m", 2) == [1, 2]
    assert journal.epochs.allocate("n") == [1]
    assert journal.epochs.allocate("m") == [3]
    assert journal.versions.models() == ["m", "n"]


def test_numbers_are_not_reused_after_discarding_and_reopening(path: Path) -> None:
    """An epoch that was allocated and never decided is used up, also over a restart."""
    with Journal(path) as journal:
        for epoch in journal.epochs.allocate("m", 2):
            journal.epochs.intend("m", epoch, b"t", term=1)
    with Journal(path) as journal:
        assert journal.epochs.discard_intents("m") == 2
        assert journal.epochs.intents("m") == []
        assert journal.epochs.allocate("m") == [3]


def test_the_last_decision_is_found_again(path: Path) -> None:
    """Epoch, term and table outlive the process; an intention above it does not count."""
    with Journal(path) as journal:
        assert journal.epochs.committed("m") is None
        decide(journal, b"first")
        forward, back = journal.epochs.allocate("m", 2)
        table = encode(RoutingTable("m", 1, forward, [], [], active=1))
        journal.epochs.intend("m", forward, table, term=7)
        journal.epochs.intend("m", back, b"back", term=7)
        journal.epochs.commit("m", forward)
    with Journal(path) as journal:
        found = journal.epochs.committed("m")
        assert found is not None
        assert (found.epoch, found.term, found.table, found.state) == (2, 7, table, EpochState.COMMITTED)
        assert found.committed is not None
        assert found.intended <= found.committed
        assert [(intent.epoch, intent.table) for intent in journal.epochs.intents("m")] == [(3, b"back")]


def test_a_decision_drops_lower_intentions(journal: Journal) -> None:
    """The page only moves upwards, so they can never be decided."""
    first, second, third = journal.epochs.allocate("m", 3)
    for epoch in (first, second, third):
        journal.epochs.intend("m", epoch, b"t", term=1)
    journal.epochs.commit("m", second)
    assert [intent.epoch for intent in journal.epochs.intents("m")] == [third]


def test_deciding_twice_is_deciding_once(journal: Journal) -> None:
    """A repeated commit changes nothing, not even its time."""
    epoch = decide(journal)
    before = journal.epochs.committed("m")
    journal.epochs.commit("m", epoch)
    assert journal.epochs.committed("m") == before


def test_what_was_not_intended_is_not_decided(journal: Journal) -> None:
    """Neither an unknown epoch nor one that was only allocated."""
    [epoch] = journal.epochs.allocate("m")
    with pytest.raises(Internal) as caught:
        journal.epochs.commit("m", epoch)
    assert reason(caught) == "epoch_not_intended"


def test_decisions_never_go_back(journal: Journal) -> None:
    """A lower epoch is refused, by commit and by an owed record."""
    low, high = journal.epochs.allocate("m", 2)
    journal.epochs.intend("m", low, b"t", term=1)
    journal.epochs.intend("m", high, b"t", term=1)
    journal.epochs.commit("m", high)
    with pytest.raises(Internal) as caught:
        journal.epochs.commit("m", low)
    assert reason(caught) == "epoch_in_past"
    with pytest.raises(Internal) as caught:
        journal.epochs.record_owed("m", low, b"t", term=1)
    assert reason(caught) == "epoch_in_past"


@pytest.mark.parametrize("epoch", [2, 99])
def test_an_intention_needs_an_allocated_number(journal: Journal, epoch: int) -> None:
    """A number from nowhere could come again."""
    journal.epochs.allocate("m")
    with pytest.raises(Internal) as caught:
        journal.epochs.intend("m", epoch, b"t", term=1)
    assert reason(caught) == "epoch_not_allocated"
    with pytest.raises(Internal) as caught:
        journal.epochs.intend("unknown", 1, b"t", term=1)
    assert reason(caught) == "epoch_not_allocated"


def test_an_epoch_has_one_table(journal: Journal) -> None:
    """Gateways may hold the first one."""
    [epoch] = journal.epochs.allocate("m")
    journal.epochs.intend("m", epoch, b"one", term=1)
    with pytest.raises(Internal) as caught:
        journal.epochs.intend("m", epoch, b"two", term=1)
    assert reason(caught) == "epoch_reused"


def test_an_owed_record_is_paid(journal: Journal) -> None:
    """The intended way back that was stored first, and a table that the journal never heard of."""
    forward, back = journal.epochs.allocate("m", 2)
    journal.epochs.intend("m", forward, b"forward", term=1)
    journal.epochs.intend("m", back, b"back", term=1)
    journal.epochs.commit("m", forward)
    journal.epochs.record_owed("m", back, b"back", term=1)
    found = journal.epochs.committed("m")
    assert found is not None
    assert (found.epoch, found.table, found.state) == (back, b"back", EpochState.OWED)
    journal.epochs.record_owed("new", 40, b"from the page", term=2)
    journal.epochs.record_owed("new", 40, b"from the page", term=2)
    found = journal.epochs.committed("new")
    assert found is not None
    assert (found.epoch, found.table) == (40, b"from the page")
    assert journal.epochs.allocate("new") == [41]


def test_old_decisions_are_dropped(journal: Journal) -> None:
    """A thousand changeovers do not make a journal of a thousand tables."""
    for _ in range(60):
        decide(journal)
        decide(journal, model="other")
    kept = [epoch for epoch in range(1, 61) if journal.epochs.get("m", epoch) is not None]
    assert kept == list(range(29, 61))
    assert journal.epochs.allocate("m") == [61]
