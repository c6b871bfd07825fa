"""How much memory this process takes, and how much address space it may take."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

from changeover.transport.control import WorkerSpec

_STACK = 8 << 20
"""Address space of a runner thread's stack."""
_CPU = "CPUExecutionProvider"
_SLACK = 256 << 20
"""Address space that is mapped and never touched."""


def limit(spec: WorkerSpec) -> int:
    """Limit the address space while loading; returns the limit while serving.

    Then the supervisor watches what is really in use, and this stops only what would outrun it. Never with CUDA,
    which reserves address space without end.
    """
    if not spec.memory_limit or set(spec.providers) != {_CPU}:
        return resource.getrlimit(resource.RLIMIT_AS)[0]
    most = address_space() + spec.memory_limit
    serving = most + spec.memory_limit + (spec.instances - 1) * _STACK
    set_limit(most)
    return serving


def make_room(size: int) -> None:
    """Raise a limit of the address space by a channel's size: the gateways' number must not count against a model."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return
    more = soft + size if hard == resource.RLIM_INFINITY else min(soft + size, hard)
    resource.setrlimit(resource.RLIMIT_AS, (more, hard))


def address_space() -> int:
    """Bytes of address space that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def resident() -> int:
    """Bytes of this process that are in memory, shared ones included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def inherited() -> int:
    """Anonymous bytes that the zygote's other children still share with this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Shared_Dirty:")) * 1024


@dataclass(frozen=True, slots=True)
class Marks:
    """Memory of this process at a moment: in memory now, of that shared with files, and the most since its fork."""

    resident: int
    shared: int
    most: int

    @classmethod
    def now(cls) -> Marks:
        """As the kernel counts it."""
        resident, shared = (int(n) * resource.getpagesize() for n in Path("/proc/self/statm").read_text().split()[1:3])
        return cls(resident, shared, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

    def private_peak_since(self, before: Marks) -> int:
        """Most bytes that were taken since then; pages of files, which all may share, are left out."""
        return max(self.most - before.resident - (self.shared - before.shared), 0)


def limit_for_proof(spec: WorkerSpec, free: int) -> int:
    """Limit the address space while a candidate is loaded and warmed up; returns the limit of before.

    By the plan's limit, else by what is free: an allocation that could never be met fails at once and cleanly.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)[0]
    if set(spec.providers) == {_CPU}:
        set_limit(address_space() + (spec.memory_limit or free + _SLACK))
    return before


def set_limit(most: int) -> None:
    """Limit the address space of this process, in bytes, at most to what the server was started under."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
