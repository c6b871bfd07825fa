"""Memory of this process, and the limit of its address space."""

from __future__ import annotations

import subprocess
import sys

_ROOM = """
import mmap, resource
from changeover.runtime import memory
limit = memory.address_space() + (16 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
held = []
for _ in range(8):
    memory.make_room(64 << 20)
    held.append(mmap.mmap(-1, 64 << 20))
"""


def test_channels_do_not_count_against_the_memory_limit() -> None:
    """Eight gateways bring half a gigabyte of channels to a model that may have little of its own."""
    done = subprocess.run([sys.executable, "-c", _ROOM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


_OUTER = """
import resource
from changeover.runtime import memory
outer = memory.address_space() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (outer, outer))
memory.set_limit(outer << 4)
assert resource.getrlimit(resource.RLIMIT_AS) == (outer, outer)
memory.set_limit(outer - 4096)
assert resource.getrlimit(resource.RLIMIT_AS) == (outer - 4096, outer)
memory.make_room(64 << 20)
"""


def test_a_limit_from_outside_stays_the_highest() -> None:
    """A server that was started under `ulimit -v` proves its versions within that, instead of refusing all of them."""
    done = subprocess.run([sys.executable, "-c", _OUTER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


_LOADS = """
import resource
from changeover.runtime import memory
from changeover.transport.control import WorkerSpec
outer = memory.address_space() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (outer, outer))
serving = memory.limit(WorkerSpec(1, "m", "1", digest="", path="", cache="", empty="", memory_limit=1 << 30))
assert serving > outer
assert resource.getrlimit(resource.RLIMIT_AS) == (outer, outer)
"""


def test_a_plan_may_allow_more_than_there_is() -> None:
    """A limit from outside that is lower than the plan's holds instead."""
    done = subprocess.run([sys.executable, "-c", _LOADS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
