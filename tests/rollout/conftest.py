"""A stage for each test, with certificates and debts that do not wait for seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.rollout import driver, queue, receipt, switch
from tests.rollout.memory_fleet import MemoryFleet
from tests.rollout.stage import ScriptedJournal, Stage


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds after a switch, for the gateways' reports and between two tries of anything: next to none."""
    monkeypatch.setattr(receipt, "_AFTER_NS", 0)
    monkeypatch.setattr(receipt, "_REPORT_SLACK", 0.001)
    monkeypatch.setattr(switch, "_DEBT_PAUSE", 0.01)
    monkeypatch.setattr(driver, "_AGAIN", 0.01)
    monkeypatch.setattr(driver, "_TICK", 3600.0)  # a test looks when it wants to
    monkeypatch.setattr(queue, "_FOUND_AGAIN", 0.01)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def journal(stage: Stage) -> Iterator[ScriptedJournal]:
    with stage.journal() as opened:
        yield opened


@pytest.fixture
def fleet() -> MemoryFleet:
    return MemoryFleet()
