"""The normal policy with short slices: who must come to an end on a busy machine too, and shall keep nobody waiting.

Niceness alone leaves a core to whoever has it for a whole slice of up to 3 ms (docs/adr/0005); so the slice is cut to
0.1 ms, where the kernel can (6.12 and newer; others ignore it). Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final

_SLICE_NS: Final = 100_000
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
_SCHED_ATTR: Final = struct.Struct("IIQiIQQQ")
"""Size, policy, flags, niceness, priority, runtime, deadline, period."""


def give_way(niceness: int, task: int = 0) -> None:
    """Give a thread, by default this one, the normal policy with this niceness and short slices.

    Raises:
        OSError: that is not allowed, or there is no such thread.
    """
    _normal(niceness, task, _SLICE_NS)


def stand_normal(niceness: int, task: int) -> None:
    """Give a thread the normal policy with this niceness, and slices as everybody has them.

    Raises:
        OSError: that is not allowed, or there is no such thread.
    """
    _normal(niceness, task, 0)


def _normal(niceness: int, task: int, slice_ns: int) -> None:
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, niceness, 0, slice_ns, 0, 0)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None and ctypes.CDLL(None).syscall(number, task, attributes, 0) == 0:
        return
    os.sched_setscheduler(task, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, task, niceness)
