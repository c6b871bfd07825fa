"""Rollouts: phases and certificates by id, what is unfinished, what was tried before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.errors import NotFound
from changeover.records import rollouts
from changeover.records.certificate import Certificate, VersionRef
from changeover.records.journal import Journal

OLD, NEW = VersionRef(3, "a" * 64), VersionRef(4, "b" * 64)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as opened:
        yield opened


def certificate(rollout: str) -> Certificate:
    return Certificate(
        model="m",
        rollout=rollout,
        source=OLD,
        target=NEW,
        outcome="succeeded",
        decided_by="plan",
        started="a",
        ended="b",
    )


def test_a_rollout_is_followed_to_its_certificate(journal: Journal) -> None:
    """Phase and record as last written; the end is marked once."""
    opened = journal.rollouts.open("m", OLD, NEW, {"offer": "push"})
    assert (opened.id, opened.phase, opened.ended, opened.certificate) == ("r-000001", "pending", None, None)
    journal.rollouts.move(opened.id, "watching", record={"epoch": 9})
    journal.rollouts.move(opened.id, "succeeded", ended=True)
    ended = journal.rollouts.get(opened.id).ended
    assert ended is not None
    journal.rollouts.move(opened.id, "succeeded", ended=True)
    journal.rollouts.certify(opened.id, certificate(opened.id))
    found = journal.rollouts.get(opened.id)
    assert (found.source, found.target, found.phase, found.record) == (OLD, NEW, "succeeded", {"epoch": 9})
    assert found.certificate == certificate(opened.id)
    assert found.ended == ended


def test_a_first_version_has_no_source(journal: Journal) -> None:
    """`None`, not version 0."""
    assert journal.rollouts.open("m", None, NEW, {}).source is None


def test_the_unfinished_are_found_oldest_first(journal: Journal) -> None:
    """Of all models: what a new controller has to go on with."""
    ids = [journal.rollouts.open(model, None, NEW, {}).id for model in ("m", "n", "m")]
    journal.rollouts.move(ids[0], "failed", ended=True)
    assert [found.id for found in journal.rollouts.unfinished()] == ids[1:]
    assert [found.id for found in journal.rollouts.of("m")] == [ids[2], ids[0]]


def test_what_was_tried_before_is_found_by_bytes(journal: Journal) -> None:
    """The same number with other bytes was not tried."""
    first = journal.rollouts.open("m", OLD, NEW, {})
    again = journal.rollouts.open("m", OLD, NEW, {})
    assert first.id != again.id
    found = journal.rollouts.latest_for("m", NEW)
    assert found is not None
    assert found.id == again.id
    assert journal.rollouts.latest_for("m", VersionRef(4, "c" * 64)) is None
    assert journal.rollouts.latest_for("other", NEW) is None


@pytest.mark.parametrize("rollout", ["r-000002", "r-", "", "1", "r-x", "r--1", "r-" + "9" * 30, "R-000001", "r-\u0661"])
def test_unknown_ids_are_not_found(journal: Journal, rollout: str) -> None:
    """Texts that are no ids are treated the same."""
    journal.rollouts.open("m", OLD, NEW, {})
    with pytest.raises(NotFound):
        journal.rollouts.get(rollout)
    with pytest.raises(NotFound):
        journal.rollouts.move(rollout, "failed")
    with pytest.raises(NotFound):
        journal.rollouts.certify(rollout, certificate("r-000001"))


def test_only_the_newest_are_kept(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of the older ones what is under way, what brought what serves, and what says that a folder was tried."""
    monkeypatch.setattr(rollouts, "KEPT", 5)
    journal.versions.add("m", 1, "1" * 64, "repository")
    kinds = {1: ("rolled_back", True), 2: ("rolled_back", True), 3: ("succeeded", True), 4: ("succeeded", True)}
    kinds[5] = ("watching", False)
    other = journal.rollouts.open("other", None, OLD, {})
    journal.rollouts.move(other.id, "failed", ended=True)
    for number in range(1, 20):
        journal.versions.add("m", number, f"{number % 10}" * 64, "push")
        opened = journal.rollouts.open("m", None, VersionRef(number, f"{number % 10}" * 64), {})
        phase, ended = kinds.get(number, ("failed", True))
        journal.rollouts.move(opened.id, phase, ended=ended)
    left = [record.target.version for record in journal.rollouts.of("m")]
    assert left == [19, 18, 17, 16, 15, 5, 4, 1]
    assert [record.id for record in journal.rollouts.of("other")] == [other.id]
    with pytest.raises(NotFound):
        journal.rollouts.get("r-000003")


def test_a_folder_that_was_tried_again_is_kept_once(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of its rollouts says so."""
    monkeypatch.setattr(rollouts, "KEPT", 3)
    journal.versions.add("m", 4, "b" * 64, "repository")
    for target in (NEW, NEW, NEW, OLD, OLD, OLD, OLD):
        journal.rollouts.move(journal.rollouts.open("m", None, target, {}).id, "failed", ended=True)
    assert [record.target for record in journal.rollouts.of("m")] == [OLD, OLD, OLD, NEW]
    assert journal.rollouts.latest_for("m", NEW) is not None


def test_each_moment_is_an_event_once(journal: Journal) -> None:
    """Its opening, the moments that a record's history has more than the last, a phase without any; and certificates.

    What is written again, as after a disk that was full, tells nothing new.
    """
    opened = journal.rollouts.open("m", OLD, NEW, {})
    first = {"at": "x", "event": "started", "phase": "validating", "step": None}
    second = {"at": "y", "event": "proven", "phase": "progressing", "step": "5%", "weight": 500, "by": "plan"}
    journal.rollouts.move(opened.id, "validating", record={"history": [first]})
    journal.rollouts.move(opened.id, "progressing", record={"history": [first, second]})
    journal.rollouts.move(opened.id, "progressing", record={"history": [first, second]})
    journal.rollouts.move(opened.id, "rolled_back", ended=True)
    journal.rollouts.certify(opened.id, certificate(opened.id))
    told = journal.events.after(model="m")
    assert [(e.kind, e.body.get("phase"), e.body.get("step")) for e in told] == [
        ("rollout", "pending", None),
        ("rollout", "validating", None),
        ("rollout", "progressing", "5%"),
        ("rollout", "rolled_back", None),
        ("certificate", None, None),
    ]
    assert told[2].body == {
        "rollout": opened.id, "from": "3", "to": "4", "event": "proven", "phase": "progressing", "step": "5%",
        "weight": 500, "by": "plan", "reason": None, "detail": None,
    }  # fmt: skip
    assert told[4].body == {"rollout": opened.id, "outcome": "succeeded", "by": "plan"}


def test_what_is_not_written_is_no_event(journal: Journal) -> None:
    """Both are in one commit, so neither is there without the other."""
    opened = journal.rollouts.open("m", OLD, NEW, {})
    before = journal.events.last()

    def moved() -> None:
        with journal.together():
            journal.rollouts.move(opened.id, "validating")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        moved()
    assert (journal.events.last(), journal.rollouts.get(opened.id).phase) == (before, "pending")
