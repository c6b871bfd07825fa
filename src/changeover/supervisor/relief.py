"""Relief for who starves: a machine without idle time leaves the idle policy next to nothing (docs/adr/0014).

Provers, and workers that load, have the idle policy. A thread of theirs that wants a core and gets next to none is
lifted to the controller's level, the normal policy with niceness 10 and slices of 0.1 ms, and put back when there is
time to spare again. One that got its share lately only sits out a burst of the others, and is left as it is. A worker
that is loaded brings all its threads back itself.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from changeover.runtime.slices import give_way
from changeover.supervisor import vitals
from changeover.supervisor.family import Member

NICENESS = 10
"""As the controller has it."""
_PERIOD = 0.1
"""Seconds between two looks: a load or a proof takes a few of them where there is time to spare."""
_LATELY = 10
"""Looks: a second."""
_STARVING, _GETS_BY = 0.04, 0.1
"""Of a core: under the first since the last look, and under the second lately, it is lifted."""
_PLENTY, _ENOUGH, _ENOUGH_LOOKS = 0.5, 0.2, 5
"""Of a core: over the first since the last look, or over the second in so many looks, it is put back."""
log = logging.getLogger("changeover.supervisor")


@dataclass(slots=True)
class _Thread:
    """One thread of somebody who is watched.

    Attributes:
        looks: the last ones, oldest first: when, and what it had used; they begin anew when it is lifted or put back.
    """

    task: int
    looks: list[tuple[float, float]] = field(default_factory=list)
    lifted: bool = False

    def look(self) -> bool:
        """Lift it or put it back, by what it got of a core; whether it was lifted now.

        Raises:
            ProcessLookupError: it has ended.
            PermissionError: raising a priority is not allowed here.
        """
        now, used = monotonic(), vitals.processor_time(self.task)
        was, idle = self.lifted, os.sched_getscheduler(self.task) == os.SCHED_IDLE
        if self.looks:
            of_late, lately = (self._share(look, now, used) for look in (self.looks[-1], self.looks[0]))
            if idle and of_late < _STARVING and lately < _GETS_BY and vitals.wants_a_core(self.task):
                give_way(NICENESS, self.task)  # one that does not want any rests: a load does, see quiet.Pace
                self.lifted = True
            elif was and not idle and self._has_enough(of_late, lately):
                os.setpriority(os.PRIO_PROCESS, self.task, 19)
                os.sched_setscheduler(self.task, os.SCHED_IDLE, os.sched_param(0))
                self.lifted = False
        if self.lifted != was:
            self.looks.clear()
        self.looks.append((now, used))
        del self.looks[:-_LATELY]
        return self.lifted and not was

    def _share(self, since: tuple[float, float], now: float, used: float) -> float:
        when, had = since
        return (used - had) / (now - when)

    def _has_enough(self, of_late: float, lately: float) -> bool:
        return of_late > _PLENTY or (lately > _ENOUGH and len(self.looks) >= _ENOUGH_LOOKS)


class Relief:
    """Looks after those with the idle policy while they live or load. `later(delay, call)` is a timer."""

    def __init__(self, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._later = later

    def watch(self, member: Member, done: Callable[[], bool] = lambda: False) -> None:
        """A prover has begun to live, or a worker to load, until it is `done`.

        Nothing is done where the kernel does not tell who had how much of a core.
        """
        if vitals.processor_time(os.getpid()):
            self._look(member, {}, done)

    def _look(self, member: Member, threads: dict[int, _Thread], done: Callable[[], bool]) -> None:
        if member.reaped or member.pid is None or done():
            return
        threads = {task: threads.get(task) or _Thread(task) for task in vitals.tasks(member.pid)}
        try:
            for thread in threads.values():
                with suppress(ProcessLookupError):  # it has ended
                    if thread.look():
                        log.info("%r has next to nothing of a core: lifted to niceness %d", member, NICENESS)
        except OSError as error:  # not allowed: all go on as they are
            log.info("%r starves and cannot be lifted: %s", member, error.strerror)
            return
        self._later(_PERIOD, lambda: self._look(member, threads, done))
