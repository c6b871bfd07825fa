"""The state folder's disk is full when a candidate goes wrong at its step: is all traffic back in time all the same?

    python benchmarks/full_disk.py [RUNS]

A small tmpfs is mounted for the state folder (which needs the privilege), and filled to its last byte before the fault
begins. When everything is back there is room again: the owed record has to come, and the next controller to know it.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.durability.full_disk import SIZE, FullDisk, Taken

from rig import emit, say, verdict

RUNS = 10
BACK_MS = 1000.0


def main(runs: int) -> None:
    """Run and print."""
    folder = Path(tempfile.mkdtemp(prefix="changeover-full-"))
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        say("full disk: skipped, mounting needs privileges")
        return
    try:
        report(runs, taken_back(folder, disk, runs))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def taken_back(folder: Path, disk: Path, runs: int) -> list[Taken]:
    """One candidate after the other on one server."""
    stage, found = FullDisk(folder, disk), list[Taken]()
    with stage.server:
        stage.deploy_first()
        for number in range(runs):
            found.append(stage.take_back())
            say(f"full disk: {number + 1} of {runs}: {found[-1]}")
    return found


def report(runs: int, found: list[Taken]) -> None:
    """One line."""
    slowest = max(max(t.acknowledged_ms, t.back_ms) for t in found)
    middle = statistics.median(t.acknowledged_ms for t in found)
    sound = all(t.owed and t.paid and t.active == "1" and not t.failed and not t.wrong for t in found)
    emit("rollback_on_full_disk", met=len(found) == runs and sound and slowest <= BACK_MS, runs=len(found),
         slowest_ms=round(slowest, 1), median_acknowledged_ms=round(middle, 1),
         last_answer_ms=round(max(t.back_ms for t in found), 1), owed=sum(t.owed for t in found),
         paid=sum(t.paid for t in found), failed=sum(len(t.failed) for t in found), wrong=sum(t.wrong for t in found),
         reach=f"all back <= {BACK_MS:.0f} ms, each record owed and paid, 0 failed")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
    sys.exit(verdict())
