"""Members whose `kill` a test can watch."""

from __future__ import annotations

import pytest

from changeover.supervisor.family import Member
from tests.supervisor.house import Crew


@pytest.fixture
def loose_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are slotted, so `kill` is replaced on a subclass."""

    class Loose(Member):
        """With a dictionary."""

    monkeypatch.setattr("changeover.supervisor.family.Member", Loose)


@pytest.fixture
def crew(loose_members: None) -> Crew:
    """Workers, with all they need."""
    return Crew()
