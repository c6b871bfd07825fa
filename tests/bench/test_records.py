"""The columns of a run."""

from __future__ import annotations

from pathlib import Path

from changeover.bench.check import Outcome
from changeover.bench.records import Break, Records, Timing


def filled() -> Records:
    records = Records()
    records.add_answer(Timing(1.0, 1.1, 1.5, fresh=False), records.version_index("2"), Outcome.OK, 7)
    records.add_answer(Timing(2.0, 2.1, 2.5, fresh=True), records.version_index("3"), Outcome.WRONG, 8)
    for _ in range(2):
        records.add_failure(Timing(3.0, 3.1, 3.5, fresh=False), 503, "overloaded", Outcome.SHED)
    records.add_failure(Timing(4.0, 4.1, 4.5, fresh=False), 0, "connection reset")
    records.add_break(Break(5.5, 40000, "connection reset", busy=True, retried=False))
    return records


def test_failures_by_status_and_reason() -> None:
    """Failures are counted by what they were."""
    assert filled().failures() == {"503 overloaded": 2, "connection reset": 1}


def test_counts_follow_the_rows() -> None:
    """The running counts are those of the outcomes."""
    assert filled().counts == [1, 1, 0, 1, 2]


def test_file_holds_everything(tmp_path: Path) -> None:
    """What is saved can be loaded, names and counts included."""
    filled().save(tmp_path / "r.npz")
    loaded = Records.load(tmp_path / "r.npz")
    assert loaded.failures() == filled().failures()
    assert loaded.counts == filled().counts
    assert loaded.versions == ["2", "3"]
    assert loaded.breaks == filled().breaks
    for name in ("due", "sent", "received", "epoch", "status", "version", "outcome", "fresh"):
        assert getattr(loaded, name) == getattr(filled(), name)


def test_cleared_rows_leave_the_sums() -> None:
    """What is counted once stays counted, and new rows find the names of the old ones."""
    records = filled()
    records.clear_rows()
    assert (len(records), records.failures()) == (0, {})
    assert records.counts == filled().counts
    assert records.version_index("3") == 1
    assert len(records.breaks) == 1
