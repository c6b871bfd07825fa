"""The journal and the house of the watch's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from changeover.controller.adaptive import watch as module
from tests.controller.adaptive.house import House
from tests.rollout.stage import ScriptedJournal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[ScriptedJournal]:
    with ScriptedJournal(tmp_path / "journal.sqlite") as made:
        yield made


@pytest.fixture
def house(journal: ScriptedJournal, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], House]:
    def make(plan: str = "adaptive: {hold: 10s}") -> House:
        made = House(journal, plan)
        for name in ("monotonic", "time"):
            monkeypatch.setattr(module, name, lambda: made.now)
        monkeypatch.setattr(module, "hardware", lambda: made.hardware)
        return made

    return make
