"""Relief for who starves: a machine without idle time leaves the idle policy next to nothing (docs/adr/0014).

Provers, and workers that load, have the idle policy. A thread of theirs that wants a core and gets next to none is
lifted to the controller's level, the normal policy with niceness 10 and slices of 0.1 ms, and put back when there is
time to spare again. A worker that is loaded brings all its threads back itself.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import monotonic

from changeover.runtime.slices import give_way
from changeover.supervisor import vitals
from changeover.supervisor.family import Member

NICENESS = 10
"""As the controller has it."""
_PERIOD = 0.1
"""Seconds between two looks: a load or a proof takes a few of them where there is time to spare."""
_STARVING, _PLENTY = 0.04, 0.5
"""Of a core: under the first it is lifted, over the second it is put back."""
log = logging.getLogger("changeover.supervisor")


class Relief:
    """Looks after those with the idle policy while they live or load. `later(delay, call)` is a timer."""

    def __init__(self, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._later = later

    def watch(self, member: Member, done: Callable[[], bool] = lambda: False) -> None:
        """A prover has begun to live, or a worker to load, until it is `done`.

        Nothing is done where the kernel does not tell who had how much of a core.
        """
        if vitals.processor_time(os.getpid()):
            self._look_later(member, set(), done)

    def _look_later(self, member: Member, lifted: set[int], done: Callable[[], bool]) -> None:
        began, pid = monotonic(), member.pid or 0
        used = {task: vitals.processor_time(task) for task in vitals.tasks(pid)}

        def look() -> None:
            if member.reaped or member.pid is None or done():
                return
            seconds = monotonic() - began
            try:
                for task, before in used.items():
                    self._judge(member, task, (vitals.processor_time(task) - before) / seconds, lifted)
            except ProcessLookupError:  # a thread has ended
                pass
            except OSError as error:  # not allowed: all go on as they are
                log.info("%r starves and cannot be lifted: %s", member, error.strerror)
                return
            self._look_later(member, lifted, done)

        self._later(_PERIOD, look)

    def _judge(self, member: Member, task: int, got: float, lifted: set[int]) -> None:
        """Lift a thread or put it back, by what it got of a core."""
        idle = os.sched_getscheduler(task) == os.SCHED_IDLE
        if idle and got < _STARVING and vitals.wants_a_core(task):  # a load rests too, see quiet.Pace
            give_way(NICENESS, task)
            if not lifted:
                log.info("%r got %.1f %% of a core: it is lifted to niceness %d", member, 100 * got, NICENESS)
            lifted.add(task)
        elif got > _PLENTY and task in lifted and not idle:
            os.setpriority(os.PRIO_PROCESS, task, 19)
            os.sched_setscheduler(task, os.SCHED_IDLE, os.sched_param(0))
            lifted.discard(task)
