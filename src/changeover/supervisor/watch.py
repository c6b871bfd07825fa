"""A look at all workers once a second: one that was stopped, or takes more memory than it may, is killed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from changeover.supervisor import vitals
from changeover.supervisor.circuit import Cause
from changeover.supervisor.family import Member
from changeover.supervisor.loading import Loading

_PERIOD = 1.0
log = logging.getLogger("changeover.supervisor")


class Watch:
    """Looks while there are loadings. `later(delay, call)` is the supervisor's timer."""

    def __init__(self, loadings: dict[int, Loading], later: Callable[[float, Callable[[], None]], None]) -> None:
        self._loadings = loadings
        self._later = later
        self._stopped: set[int] = set()
        self._running = False
        self._oom_kills = self._oom_kills_before = 0  # at the last look, and at the one before

    def begin(self) -> None:
        """There is a loading: look from now on."""
        if not self._running:
            self._running = True
            self._oom_kills = self._oom_kills_before = vitals.oom_kills()
            self._later(_PERIOD, self._look)

    def cause(self, member: Member, code: int) -> Cause:
        """Why a worker died that ended with `code`.

        The kernel counts its victims, and does not name them: a SIGKILL is taken for its own when the count rose in
        the last one or two seconds, since a victim may be reaped after a look that counted it.
        """
        if member.cause:
            return Cause(member.cause)
        if code != -9:
            return Cause.CRASHED
        return Cause.OUT_OF_MEMORY if vitals.oom_kills() > self._oom_kills_before else Cause.KILLED

    def _look(self) -> None:
        self._running = bool(self._loadings)
        if not self._running:
            return
        self._later(_PERIOD, self._look)
        self._oom_kills_before, self._oom_kills = self._oom_kills, vitals.oom_kills()
        before, self._stopped = self._stopped, set()
        for loading in self._loadings.values():
            if loading.member is not None and loading.member.pid is not None:
                try:
                    self._look_at(loading, loading.member, loading.member.pid, before)
                except Exception:
                    log.exception("%r could not be looked at", loading.member)  # its own doing: the others are well

    def _look_at(self, loading: Loading, member: Member, pid: int, stopped_before: set[int]) -> None:
        """Twice stopped, a second apart: whoever stops the whole family and lets it go on is not meant."""
        if vitals.is_stopped(pid):
            if member.number in stopped_before:
                log.error("%r of %r is stopped (SIGSTOP): killed", member, loading)
                member.kill(Cause.STOPPED)
            self._stopped.add(member.number)
        limit = loading.spec.get("memory_limit") or 0
        if not limit:
            return
        used = vitals.private_bytes(pid) - loading.base
        if used > limit:
            log.error("%r of %r uses %d MiB, over its limit of %d MiB (runtime.memory_limit): killed",
                      member, loading, used >> 20, limit >> 20)  # fmt: skip
            member.kill(Cause.MEMORY_LIMIT)
