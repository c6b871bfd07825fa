"""Memory as control groups of both versions and the machine tell it."""

from __future__ import annotations

from pathlib import Path

import psutil

from changeover.runtime.machine import Memory, memory

MEMINFO = "MemTotal: 8000 kB\nMemFree: 10 kB\nMemAvailable: 6000 kB\n"


def machine(folder: Path, groups: str) -> tuple[Path, Path]:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(MEMINFO)
    (folder / "proc/self/cgroup").write_text(groups)
    (folder / "cgroup").mkdir()
    return folder / "proc", folder / "cgroup"


def group(folder: Path, limit: str, used: int, inactive: int, names: tuple[str, str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names, (limit, str(used), f"anon 5\n{names[2]} {inactive}\n"), strict=True):
        (folder / (name if "inactive" not in name else "memory.stat")).write_text(text)


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def test_without_a_control_group_the_machine_counts(tmp_path: Path) -> None:
    """One that sets no limit is none."""
    proc, mount = machine(tmp_path, "0::/a\n")
    group(mount / "a", "max", 1, 1, V2)
    assert memory(proc, mount) == Memory(8_192_000, 6_144_000, "host")


def test_the_tightest_group_counts(tmp_path: Path) -> None:
    """Version 2; a group above may be tighter. Cached files are given back when they are needed."""
    proc, mount = machine(tmp_path, "0::/a/b\n")
    group(mount / "a", "3000000", 1_000_000, 200_000, V2)
    group(mount / "a/b", "4000000", 1_000_000, 0, V2)
    assert memory(proc, mount) == Memory(3_000_000, 2_200_000, "cgroup")


def test_groups_of_the_first_version(tmp_path: Path) -> None:
    """Each controller has a tree of its own; a number beyond all memory stands for no limit."""
    proc, mount = machine(tmp_path, "5:cpu:/c\n4:cpuset,memory:/c\n0::/\n")
    group(mount / "memory/c", "2000000", 1_500_000, 500_000, V1)
    group(mount / "memory", str((1 << 63) - 4096), 9, 0, V1)
    assert memory(proc, mount) == Memory(2_000_000, 1_000_000, "cgroup")


def test_this_machine() -> None:
    """No more than psutil sees, and something is free."""
    found = memory()
    assert 0 < found.free <= found.total <= psutil.virtual_memory().total
