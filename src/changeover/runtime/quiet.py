"""Loading low, serving normal: how a load stays unfelt by live traffic, without privilege where possible.

In order of preference: niceness 19 with the idle policy, and back (needs CAP_SYS_NICE or RLIMIT_NICE); the
session's autogroup at 19 and back (allowed to anybody, effective where autogroups are on); a loader thread at
niceness 19 for a single-threaded load; one core only.
"""

from __future__ import annotations

import math
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TypeVar

from changeover.runtime.slices import stand_normal

T = TypeVar("T")
_LOW = 19
_NORMAL = os.getpriority(os.PRIO_PROCESS, 0)
"""The server's own niceness, which the zygote inherits and its children come back to."""
_CAP_SYS_NICE = 23
_NORMAL_LIMIT = 20  # RLIMIT_NICE 20 allows niceness 0
_AUTOGROUP = Path("/proc/self/autogroup")
_AUTOGROUP_PATIENCE = 10.0
_AUTOGROUP_PAUSE = 0.005
_BITE = 0.001
"""Seconds of work after which a load rests."""
_REST = 4.0
"""Times the work."""
_LONGEST_REST = 0.1
"""Seconds: a large model's load is one long step, and shall not take five times as long for it."""
_STARVED = 0.1
"""Of a core: who got less has given way enough."""
_WATCH_PAUSE = 0.25
_AUTOGROUP_SWITCH = Path("/proc/sys/kernel/sched_autogroup_enabled")


class Quiet(StrEnum):
    """How a loading is kept quiet; recorded in the certificate."""

    NICENESS = "niceness"
    AUTOGROUP = "autogroup"
    THREAD = "thread"
    AFFINITY = "affinity"


def method(intra_op_threads: int = 1) -> Quiet:
    """The best method that works for this process, for a session of so many threads."""
    if _may_renice():
        return Quiet.NICENESS
    if _autogroup_works():
        return Quiet.AUTOGROUP
    return Quiet.THREAD if intra_op_threads == 1 else Quiet.AFFINITY


def begin_low() -> None:
    """Lower this process from its first instruction on, where `run_quietly` may bring it back.

    What a fork costs, its page faults above all, is work that live traffic would feel too.
    """
    if _may_renice():
        _lower(threading.get_native_id())


def stand_apart(*, for_good: bool = False) -> None:
    """A process group of its own, and a session of its own only where that is needed to load quietly.

    Each session has an autogroup, and a niceness counts among the threads of one autogroup: a worker at niceness 19 in
    a session of its own takes half of a core from the server it belongs to (measured on one core, a CNN of 47 MB: p99
    82 ms before, 1,128 ms while the next version loaded; in the server's session 180 ms).

    Args:
        for_good: this process stays low all its life; to go down takes no privilege, so it needs no session either.
    """
    if method() is Quiet.AUTOGROUP and not for_good:
        os.setsid()
    else:
        os.setpgid(0, 0)


@contextmanager
def lowered(patience: float) -> Iterator[None]:
    """This thread at low priority inside, where it can be brought back; else nothing changes.

    Threads of the session's own (`intra_op_threads` over 1) stay as they are.

    Args:
        patience: seconds (to a quarter) after which it is brought back although it has not ended: on a machine that
            others keep busy it would hardly ever get a turn, and look as if it hung.
    """
    if not _may_renice_now():
        yield
        return
    _watcher()
    task = threading.get_native_id()
    _low_until[task] = time.monotonic() + patience
    _lower(task)
    try:
        yield
    finally:
        _low_until.pop(task, None)
        _restore(task, Quiet.NICENESS, set())


_low_until: dict[int, float] = {}
"""Threads that are `lowered`, and until when at most (`time.monotonic`)."""


@cache
def _watcher() -> threading.Thread:
    """The thread that ends their patience, in a process that has ever lowered one."""
    thread = threading.Thread(target=_watch, name="patience", daemon=True)
    thread.start()
    return thread


def _watch() -> None:
    while True:
        time.sleep(_WATCH_PAUSE)
        now = time.monotonic()
        for task, until in list(_low_until.items()):
            if now >= until and _low_until.pop(task, None) is not None:
                _restore(task, Quiet.NICENESS, set())


def stay_low() -> None:
    """Lower this process, which has one thread, for good; anybody may do that.

    Its autogroup stays as it is: it is the server's (`stand_apart`), and its niceness counts for gateways and workers.
    """
    _lower(threading.get_native_id())


def bring_back(process: int) -> None:
    """A process that began low, and has one thread, is a normal one."""
    if _may_renice():
        _restore(process, Quiet.NICENESS, set())


class Pace:
    """Rests of a load between its steps, so that it never has a core for long while others want one.

    The kernel moves a waiting thread to a core only when that core is about to fall idle, and one with a thread of
    the idle policy never is: gateway and worker then wait on one core while a load has most of the other.

    Args:
        hurry: clients wait for this load; it never rests.
    """

    def __init__(self, *, hurry: bool = False) -> None:
        self._hurry = hurry
        self._worked, self._since = time.thread_time(), time.monotonic()

    def rest(self) -> None:
        """Sleep in proportion to what this thread has worked since the last rest, if half of the cores are taken."""
        worked = time.thread_time() - self._worked
        if self._hurry or worked < _BITE:
            return
        starved = worked < (time.monotonic() - self._since) * _STARVED
        if not starved and 2 * _others_running() >= (os.cpu_count() or 1):
            time.sleep(min(worked * _REST, _LONGEST_REST))
        self._worked, self._since = time.thread_time(), time.monotonic()


def _others_running() -> int:
    """Threads of this machine that run or wait for a core, but for this one."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1


def run_quietly(call: Callable[[], T], how: Quiet) -> T:
    """Run `call` in a thread of its own at low priority; everything is normal when it returns or raises.

    Threads that `call` starts inherit its low priority, and are set back too (not with THREAD, which is
    chosen only where there are none).
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            if how in (Quiet.NICENESS, Quiet.THREAD):
                _lower(threading.get_native_id())
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - carried to the caller
            errors.append(error)

    with _process_low(how):
        thread = threading.Thread(target=body, name="loader")
        thread.start()
        thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _process_low(how: Quiet) -> Iterator[None]:
    """Low inside, normal after; where others take every turn with the autogroup, one core must do."""
    if how is Quiet.AUTOGROUP and not _set_autogroup(_LOW, _AUTOGROUP_PATIENCE):
        how = Quiet.AFFINITY
    cores = os.sched_getaffinity(0)
    if how is Quiet.AFFINITY:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        if how is Quiet.AUTOGROUP:
            _set_autogroup(0, math.inf)  # a worker that stayed low would never serve well
        for task in os.listdir("/proc/self/task"):
            _restore(int(task), how, cores)


def _set_autogroup(niceness: int, patience: float) -> bool:
    """Ask until the kernel takes it: from all unprivileged processes together it takes one change in 100 ms.

    Returns:
        False when others took every turn for `patience` seconds.
    """
    until = time.monotonic() + patience
    while True:
        try:
            _AUTOGROUP.write_text(str(niceness))
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(_AUTOGROUP_PAUSE)
        else:
            return True


def _lower(task: int) -> None:
    """Niceness 19 and the idle policy: a thread of the normal one keeps a core for up to 3 ms, however nice it is."""
    os.setpriority(os.PRIO_PROCESS, task, _LOW)
    os.sched_setscheduler(task, os.SCHED_IDLE, os.sched_param(0))


def _restore(task: int, how: Quiet, cores: set[int]) -> None:
    """Bring a thread back; one that ended meanwhile needs nothing."""
    try:
        if how is Quiet.NICENESS:
            stand_normal(_NORMAL, task)  # it may have been lifted meanwhile, with slices that are short
        elif how is Quiet.AFFINITY:
            os.sched_setaffinity(task, cores)
    except ProcessLookupError:
        pass


def _may_renice() -> bool:
    soft, _ = resource.getrlimit(resource.RLIMIT_NICE)
    if soft >= _NORMAL_LIMIT or soft == resource.RLIM_INFINITY:
        return True
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False


@cache
def _may_renice_now() -> bool:
    """The same, asked once in this process: a worker gives none of its rights up while it serves."""
    return _may_renice()


def _autogroup_works() -> bool:
    """Whether autogroups are on and this process is in one: the kernel's own root group shows no line, takes none."""
    try:
        on = _AUTOGROUP_SWITCH.read_text().strip() == "1"
        return on and bool(_AUTOGROUP.read_text()) and os.access(_AUTOGROUP, os.W_OK)
    except OSError:
        return False
