"""A full file system under a rollout: the way back does not wait for room, its record does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durability.full_disk import SIZE, FullDisk
from tests.small_disk import small_disk


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_verdict_on_a_full_disk(tmp_path: Path) -> None:
    """Everything is back while not one byte can be written; the record is owed, then paid; with room none is owed."""
    with small_disk(tmp_path / "disk", SIZE) as disk:
        stage = FullDisk(tmp_path, disk)
        with stage.server:
            stage.deploy_first()
            full = stage.take_back()
            room = stage.take_back(fill=False)
    assert (full.owed, full.paid, full.active) == (True, True, "1")
    assert (full.failed, full.wrong) == ([], 0)
    assert (room.owed, room.paid, room.active) == (False, True, "1")
