"""Memory and processor time, as the kernel says."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from changeover.controller.metrics import processes
from changeover.controller.metrics.processes import Processes


def test_this_process_takes_what_psutil_says() -> None:
    """Resident and proportional memory, processor time; a process that is gone is left out."""
    me = os.getpid()
    found = Processes().read([me, 2**22 + 1])
    assert set(found) == {me}
    known = psutil.Process(me)
    assert found[me].rss == pytest.approx(known.memory_info().rss, rel=0.2)
    assert found[me].pss is not None
    assert 0 < found[me].pss <= found[me].rss * 1.2
    times = known.cpu_times()
    assert found[me].cpu == pytest.approx(times.user + times.system, abs=1.0)


def fake(folder: Path, pids: range) -> None:
    """A kernel with these processes."""
    for pid in pids:
        (folder / str(pid)).mkdir()
        stat = f"{pid} (a ) b) S " + " ".join(str(n) for n in range(4, 53))
        (folder / str(pid) / "stat").write_text(stat)
        (folder / str(pid) / "smaps_rollup").write_text(f"x\nRss: 9 kB\nPss: {pid} kB\n")


def test_dear_sums_are_made_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest first, so that each process has its turn; what was summed up is kept."""
    fake(tmp_path, range(1, 5))
    now = [100.0]

    def later() -> float:
        now[0] += 0.006  # a sum takes more than half of the budget
        return now[0]

    monkeypatch.setattr(processes, "monotonic", later)
    reader = Processes(tmp_path)
    seen = [{pid for pid, told in reader.read(range(1, 5)).items() if told.pss is not None} for _ in range(3)]
    assert len(seen[0]) < 4
    assert seen[0] < seen[1]
    assert seen[-1] == {1, 2, 3, 4}
    assert {pid: told.pss for pid, told in reader.read(range(1, 5)).items()} == {n: n * 1024 for n in range(1, 5)}


def test_a_name_may_have_spaces_and_brackets(tmp_path: Path) -> None:
    """The fields are counted from the last bracket."""
    fake(tmp_path, range(7, 8))
    told = Processes(tmp_path).read([7])[7]
    assert told.cpu == (14 + 15) / os.sysconf("SC_CLK_TCK")
    assert told.rss == 24 * os.sysconf("SC_PAGE_SIZE")
