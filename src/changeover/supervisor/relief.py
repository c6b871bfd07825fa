"""Relief for provers that starve: a machine without idle time leaves the idle policy next to nothing (docs/adr/0014).

A prover that gets less than a tenth of a core is lifted to the controller's level, the normal policy with niceness 10
and slices of 0.1 ms, and put back when there is time to spare again.
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
_PERIOD = 2.0
_STARVING, _PLENTY = 0.1, 0.5
"""Of a core: under the first it is lifted, over the second it is put back."""
log = logging.getLogger("changeover.supervisor")


class Relief:
    """Looks after provers, one look each two seconds of their lives. `later(delay, call)` is the supervisor's timer."""

    def __init__(self, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._later = later

    def watch(self, member: Member) -> None:
        """A prover has begun to live. Nothing is done where the kernel does not tell who had how much of a core."""
        if not vitals.processor_time(os.getpid()):
            return
        self._look_later(member, lifted=False)

    def _look_later(self, member: Member, *, lifted: bool) -> None:
        began, used = monotonic(), vitals.processor_time(member.pid or 0)
        self._later(_PERIOD, lambda: self._look(member, began, used, lifted))

    def _look(self, member: Member, began: float, used: float, lifted: bool) -> None:
        if member.reaped or member.pid is None:
            return
        got = (vitals.processor_time(member.pid) - used) / (monotonic() - began)
        try:
            if got < _STARVING and not lifted and vitals.wants_a_core(member.pid):  # a load rests too, see quiet.Pace
                give_way(NICENESS, member.pid)
                log.info("%r got %.1f %% of a core: it is lifted to niceness %d", member, 100 * got, NICENESS)
                lifted = True
            elif got > _PLENTY and lifted:
                os.setpriority(os.PRIO_PROCESS, member.pid, 19)
                os.sched_setscheduler(member.pid, os.SCHED_IDLE, os.sched_param(0))
                lifted = False
        except OSError as error:  # not allowed, or it has ended: it goes on as it is
            log.info("%r got %.1f %% of a core and cannot be lifted: %s", member, 100 * got, error.strerror)
            return
        self._look_later(member, lifted=lifted)
