"""What a bench keeps between its pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.rehearsal.cases import Case, repeated
from kept import Kept
from rehearse import PLAN, Task, _missing, kept_in


def test_pieces_add_up(tmp_path: Path) -> None:
    """What one piece found the next one knows; a line that a kill cut off is left out, and nothing is joined to it."""
    file = tmp_path / "found.jsonl"
    first = Kept(file, {"rate": 300.0})
    first.add({"kind": "slow"})
    first.add({"kind": "nan"})
    with file.open("a") as stream:
        stream.write('{"kind": "cra')
    second = Kept(file, {"rate": 300.0})
    assert second.rows == [{"kind": "slow"}, {"kind": "nan"}]
    second.add({"kind": "crash"})
    assert Kept(file, {"rate": 300.0}).rows == [{"kind": "slow"}, {"kind": "nan"}, {"kind": "crash"}]


def test_pieces_of_other_conditions_are_refused(tmp_path: Path) -> None:
    """One figure of both would say nothing; without a file nothing is kept."""
    file = tmp_path / "found.jsonl"
    Kept(file, {"rate": 300.0}).add({"kind": "slow"})
    with pytest.raises(SystemExit, match=r"other conditions.*300"):
        Kept(file, {"rate": 400.0})
    Kept(None, {"rate": 1.0}).add({"kind": "slow"})
    assert Kept(file, {"rate": 300.0}).rows == [{"kind": "slow"}]


def test_only_what_is_missing_is_rehearsed(tmp_path: Path) -> None:
    """Of every kind so many as are asked for, whatever earlier pieces took more of; in turns."""
    kept = kept_in(tmp_path / "found.jsonl", PLAN, 300.0)
    for kind in ("nan@canary", "nan@canary", "nan@canary", "slow@canary"):
        kept.add({"kind": kind})
    cases = repeated([Case("slow"), Case("nan"), Case("leak")], 2)
    missing = [case.kind for case in _missing(Task(PLAN, cases, 300.0, 1.0, kept))]
    assert missing == ["leak", "slow", "leak"]
