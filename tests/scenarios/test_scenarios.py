"""Each transcript beside this file is what really happens. `CHANGEOVER_REWRITE=1` writes them anew, for review."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from changeover.rollout import driver, queue, receipt, switch
from tests.scenarios.runner import Play

FOLDER = Path(__file__).parent
TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to no time between two tries; no look at a rollout but those of the transcript."""
    monkeypatch.setattr(receipt, "_AFTER_NS", 0)
    monkeypatch.setattr(receipt, "_REPORT_SLACK", 0.001)
    monkeypatch.setattr(switch, "_DEBT_PAUSE", 0.01)
    monkeypatch.setattr(driver, "_AGAIN", 0.01)
    monkeypatch.setattr(driver, "_TICK", 3600.0)
    monkeypatch.setattr(queue, "_FOUND_AGAIN", 0.01)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_it_happens_as_written(path: Path, tmp_path: Path) -> None:
    """Phases, calls and tables, line by line."""
    written = path.read_text()
    played = asyncio.run(asyncio.wait_for(Play(tmp_path).transcript(written), 60))
    if os.environ.get("CHANGEOVER_REWRITE"):
        path.write_text(played)
    else:
        assert played == written


def test_there_are_transcripts() -> None:
    """Of every kind of end."""
    assert len(TRANSCRIPTS) >= 10
