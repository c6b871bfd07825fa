"""A candidate goes wrong at its step while the disk of the state folder is full: is the way back held up by it?"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from changeover.records.journal import Journal
from changeover.testing import Server, wait_for
from tests import onnx_models
from tests.traffic import Traffic

SIZE: Final = "24m"
"""Of the file system that is filled."""
RATE: Final = 100.0
_MODEL: Final = "m"
_VERSIONS: Final = 40
_FACTORS: Final = {str(version): 2.0 for version in range(1, _VERSIONS)}
_PLAN: Final = (
    "rollout: {strategy: canary, steps: [30%], hold: 10m, min_requests: 100000, max_hold: 20m}\n"
    "gates: {performance: {enabled: false}}\n"
)


@dataclass(frozen=True, slots=True)
class Taken:
    """One way back on a full disk.

    Attributes:
        acknowledged_ms: from the verdict to the last gateway's acknowledgement.
        back_ms: from the verdict to the candidate's last answer to a client.
        owed: the journal did not know of it while the disk was full.
        paid: it did when there was room again, also to the next controller.
        active: the version that serves in the end; `failed`, `wrong`: what clients had of it.
    """

    acknowledged_ms: float
    back_ms: float
    owed: bool
    paid: bool
    active: str
    failed: list[str]
    wrong: int


class FullDisk:
    """A server whose state folder lies on a small file system.

    Args:
        folder: for the repository and the log, with room.
        disk: the small file system.
    """

    def __init__(self, folder: Path, disk: Path) -> None:
        self._disk = disk
        self._arming = folder / "armed"
        self._ballast = disk / "ballast"
        fault = {"kind": "error", "rate": 0.3, "when": str(self._arming)}
        faults = folder / "faults.json"
        faults.write_text(json.dumps({"models": {_MODEL: {str(v): fault for v in range(2, _VERSIONS)}}}))
        self._made = 1
        self.server = Server(folder, state_dir=disk / "state", faults=str(faults))

    def deploy_first(self) -> None:
        """Version 1 serves."""
        self.server.deploy(_MODEL, _sound(), 1)
        self.server.plan(_MODEL, _PLAN)

    def take_back(self, *, fill: bool = True) -> Taken:
        """One candidate to its step, the disk full, its fault, the way back, room again, another controller.

        Args:
            fill: false leaves room on the disk, so that nothing is owed.
        """
        self._made += 1
        version, server = str(self._made), self.server
        with Traffic(server.http_port, _MODEL, _FACTORS, rate=RATE) as traffic:
            rollout = server.push(_MODEL, _sound(), self._made)["rollout"]
            wait_for(lambda: self._shown(rollout)["phase"] == "progressing", "the step")
            traffic.wait_for_version(version)
            if fill:
                self._fill()
            self._arming.touch()
            wait_for(lambda: self._shown(rollout)["phase"] == "rolled_back", "the way back", 60)
            traffic.wait_for_answers(20)
            owed = self._on_record(rollout) != "rolled_back" if fill else not self._comes_on_record(rollout)
            self._make_room()
            paid = self._paid(rollout)
            moments = {entry["phase"]: datetime.fromisoformat(entry["at"]) for entry in self._shown(rollout)["history"]}
            traffic.wait_for_answers(20)
        began = moments["rolling_back"]
        acknowledged = (moments["rolled_back"] - began).total_seconds()
        verdict = time.monotonic() - (time.time() - began.timestamp())
        late = [answer.received - verdict for answer in traffic.report.answers if answer.version == version]
        report, active = traffic.report, str(server.model(_MODEL)["active"])
        return Taken(acknowledged * 1e3, max([0.0, *late]) * 1e3, owed, paid, active, report.failed, report.wrong)

    def _shown(self, rollout: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.control("GET", f"/v1/rollouts/{rollout}")
        return found

    def _fill(self) -> None:
        """Until not one byte more finds room."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"\1" * size):
                        pass

    def _make_room(self) -> None:
        self._arming.unlink()
        self._ballast.unlink(missing_ok=True)

    def _paid(self, rollout: str) -> bool:
        """In the journal, and known to the controller that comes after this one."""
        if not self._comes_on_record(rollout):
            return False
        try:
            before = self.server.named("controller")
            before.kill()
            before.wait(10)
            wait_for(lambda: self._again(rollout), "the next controller")
        except TimeoutError:
            return False
        return True

    def _comes_on_record(self, rollout: str) -> bool:
        """By itself, however slow the disk is."""
        with contextlib.suppress(TimeoutError):
            return wait_for(lambda: self._on_record(rollout) == "rolled_back", "the record")
        return False

    def _again(self, rollout: str) -> bool:
        with contextlib.suppress(OSError, AssertionError):
            return bool(self._shown(rollout)["phase"] == "rolled_back")
        return False

    def _on_record(self, rollout: str) -> str:
        """Phase of a rollout in the journal as it lies on the disk."""
        with tempfile.TemporaryDirectory() as folder:
            for name in ("journal.sqlite", "journal.sqlite-wal"):
                if (self.server.state / name).exists():
                    shutil.copy(self.server.state / name, folder)
            with Journal(Path(folder) / "journal.sqlite") as journal:
                return journal.rollouts.get(rollout).phase


def _sound() -> bytes:
    return onnx_models.scale(2).SerializeToString()
