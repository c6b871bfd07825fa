"""How much memory this process takes, and how much address space it may take."""

from __future__ import annotations

import resource
from pathlib import Path

from changeover.transport.control import WorkerSpec

_STACK = 8 << 20
"""Address space of a runner thread's stack."""
_CPU = "CPUExecutionProvider"


def limit(spec: WorkerSpec) -> int:
    """Limit the address space while loading; returns the limit while serving.

    Then the supervisor watches what is really in use, and this stops only what would outrun it. Never with CUDA,
    which reserves address space without end.
    """
    if not spec.memory_limit or set(spec.providers) != {_CPU}:
        return resource.getrlimit(resource.RLIMIT_AS)[0]
    most = address_space() + spec.memory_limit
    serving = most + spec.memory_limit + (spec.instances - 1) * _STACK
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
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
