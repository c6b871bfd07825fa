"""A wake-up at an exact moment for an epoll loop: Linux timerfd, which Python offers only from 3.13 on.

epoll's own time-out counts in whole milliseconds: at 8,000 requests a second it would send them in lumps of eight.
"""

from __future__ import annotations

import ctypes
import os
from typing import ClassVar

_CLOCK_MONOTONIC = 1  # the clock of time.monotonic
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1


class _Times(ctypes.Structure):
    """`struct itimerspec`: an interval, here always zero, and the moment of the wake-up."""

    _fields_: ClassVar = [
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    ]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Times), ctypes.c_void_p)


class Timer:
    """Becomes readable at the moment last given to `wake_at`; register it edge-triggered, it is never read."""

    def __init__(self) -> None:
        self.fd = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._times = _Times()
        self._reference = ctypes.byref(self._times)
        self._at = 0.0

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self.fd)

    def wake_at(self, at: float) -> None:
        """Set the moment, in seconds of `time.monotonic`; one in the past wakes at once."""
        if at == self._at:
            return
        self._at = at
        seconds = int(at)
        self._times.at_s = seconds
        self._times.at_ns = int((at - seconds) * 1e9) or 1  # all zero would switch the timer off
        _libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, self._reference, None)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
