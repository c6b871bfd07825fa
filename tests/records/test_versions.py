"""Versions: bytes behind a number, and the next free number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.records.certificate import VersionRef
from changeover.records.journal import Journal

A, B = "a" * 64, "b" * 64


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def test_a_version_is_recorded_once(journal: Journal) -> None:
    """Adding it again gives the first record."""
    first = journal.versions.add("mnist", 3, A, "repository")
    assert journal.versions.add("mnist", 3, A, "push") == first
    assert journal.versions.of("mnist") == [first]
    assert repr(first) == "<Version mnist/3@aaaa from repository>"


def test_new_bytes_under_an_old_number_are_another_version(journal: Journal) -> None:
    """Both are kept, in the order in which they were seen."""
    journal.versions.add("mnist", 3, B, "repository")
    journal.versions.add("mnist", 3, A, "repository")
    assert [version.digest for version in journal.versions.of("mnist")] == [B, A]


def test_the_next_number_is_above_all(journal: Journal) -> None:
    """For a push that names none; 1 for a new model."""
    assert journal.versions.next_number("mnist") == 1
    journal.versions.add("mnist", 20260131, A, "push")
    journal.versions.add("mnist", 3, A, "push")
    journal.versions.add("other", 7, A, "push")
    assert journal.versions.next_number("mnist") == 20260132
    assert journal.versions.models() == ["mnist", "other"]


def test_the_last_use_of_each_version(journal: Journal) -> None:
    """The latest of all rollouts to it and away from it; what never served is told apart."""
    for version, digest in ((1, A), (2, B), (3, A)):
        journal.versions.add("m", version, digest, "push")
    first = journal.rollouts.open("m", None, VersionRef(1, A), {})
    journal.rollouts.move(first.id, "succeeded", ended=True)
    second = journal.rollouts.open("m", VersionRef(1, A), VersionRef(2, B), {})
    journal.rollouts.move(second.id, "failed", ended=True)
    one, two, three = journal.versions.uses()
    assert (one.version, two.version, three.version) == (1, 2, 3)
    assert (one.served, two.served, three.served) == (True, False, False)
    assert one.used == two.used == journal.rollouts.get(second.id).updated
    assert three.used == journal.versions.of("m")[2].created
