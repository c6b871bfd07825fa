"""How much memory there is: of the control group this process is in, else of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOUNT: Final = Path("/sys/fs/cgroup")
_UNLIMITED: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that may be used in all, and that are free now; `of` is `cgroup` or `host`."""

    total: int
    free: int
    of: str


def memory(proc: Path = Path("/proc"), mount: Path = _MOUNT) -> Memory:
    """The tightest limit that holds here.

    Args:
        proc: of the kernel.
        mount: where control groups are mounted.
    """
    told = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    total, free = (int(told[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    tightest = Memory(total, free, "host")
    for limit, used in _groups(proc, mount):
        if limit < tightest.total:
            tightest = Memory(limit, max(min(limit - used, free), 0), "cgroup")
    return tightest


def _groups(proc: Path, mount: Path) -> list[tuple[int, int]]:
    """Limit and use of this process's group and of all above it, of both versions of control groups."""
    found = []
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found += _chain(mount, mount / path.lstrip("/"), "memory.max", "memory.current", "memory.stat")
        elif "memory" in controllers.split(","):
            top = mount / "memory"
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"
            found += _chain(top, top / path.lstrip("/"), *names)
    return found


def _chain(top: Path, folder: Path, limit: str, usage: str, stat: str) -> list[tuple[int, int]]:
    found = []
    for place in (folder, *folder.parents):
        if place != top and top not in place.parents:
            break
        try:
            most = int((place / limit).read_text())
            used = int((place / usage).read_text()) - _given_back(place / stat)
        except (OSError, ValueError):  # no such file here, or "max"
            continue
        if most < _UNLIMITED:
            found.append((most, used))
    return found


def _given_back(stat: Path) -> int:
    """Bytes of the page cache that go as soon as somebody needs them."""
    told = dict(line.split() for line in stat.read_text().splitlines())
    return int(told.get("total_inactive_file", told.get("inactive_file", 0)))
