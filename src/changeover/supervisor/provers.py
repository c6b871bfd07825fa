"""The provers: one short life for each loading that the controller wants proven.

A prover that dies is never replaced here: what its death says of the version is the controller's to judge, and so is
whether to try again. With the controller its questions die too.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import Any

from changeover.supervisor.circuit import Cause
from changeover.supervisor.family import Family, Member, Role
from changeover.supervisor.loading import STATES, Loading
from changeover.supervisor.relief import Relief
from changeover.supervisor.watch import Watch
from changeover.transport.link import CONTROLLER, Frame, Kind, LinkClosed, frame
from changeover.transport.page import create_sample

_SOON = 0.02
"""Seconds until it is looked again whether there is a zygote."""
_NAMELESS = 5.0
"""Seconds that a zygote may take for a fork."""
log = logging.getLogger("changeover.supervisor")


class Provers:
    """The living provers, by loading. `later(delay, call)` is the supervisor's timer."""

    def __init__(
        self, family: Family, later: Callable[[float, Callable[[], None]], None], relief: Relief | None = None
    ) -> None:
        self._family = family
        self._later = later
        self._watch_over: dict[int, Loading] = {}
        self._watch = Watch(self._watch_over, later)
        self._relief = relief or Relief(later)

    def prove(self, body: dict[str, Any]) -> None:
        """The controller wants a loading proven."""
        number, spec = int(body["loading"]), dict(body["spec"])
        if number in self._watch_over:
            return
        # The runtime's memory limit is about one session, a prover holds two: it limits itself while it loads.
        self._watch_over[number] = Loading(number, {"model": spec["worker"]["model"]})
        self._watch.begin()
        self._start(number, spec)

    def end(self, number: int) -> None:
        """The controller has heard enough of this loading."""
        loading = self._watch_over.get(number)
        if loading is None:
            return
        loading.retiring = True
        if loading.member is None:
            self._lost(loading, -1, Cause.DENOUNCED)
        else:
            loading.member.kill(Cause.DENOUNCED)

    def end_all(self) -> None:
        """Nobody waits for them any more."""
        for number in list(self._watch_over):
            self.end(number)

    def is_retiring(self, member: Member) -> bool:
        """Whether a prover's end is nothing to warn of: it was asked for, or it has said all it had to say."""
        loading = self._watch_over.get(member.loading or -1)
        return loading is None or loading.retiring

    def named(self, member: Member) -> None:
        """A prover's pid is known: one that is not wanted any more has lived long enough."""
        loading = self._watch_over.get(member.loading or -1)
        if loading is None or loading.retiring:
            member.kill(Cause.DENOUNCED)
        else:
            self._relief.watch(member)

    def proved(self, member: Member, message: Frame) -> None:
        """A prover reports; the controller gets the same report.

        Raises:
            KeyError, TypeError, ValueError: it is no report on its loading, or of no state that there is.
        """
        body = message.json()
        state = body["state"]
        if body["loading"] != member.loading or state not in STATES:
            raise ValueError(f"a report on loading {body['loading']}, {state!r}")
        loading = self._watch_over.get(member.loading or -1)
        if loading is not None and state in ("ready", "failed"):
            loading.retiring = True
        message.target, message.source = CONTROLLER, member.number
        self._family.send(self._family.one(Role.CONTROLLER), message)

    def died(self, member: Member, code: int) -> None:
        """A prover was reaped."""
        loading = self._watch_over.get(member.loading or -1)
        if loading is not None and loading.member is member:
            self._lost(loading, code, self._watch.cause(member, code))

    def _start(self, number: int, spec: dict[str, Any]) -> None:
        loading = self._watch_over.get(number)
        if loading is None or loading.retiring:
            return
        zygote = self._family.one(Role.ZYGOTE)
        if zygote is None or not zygote.ready:
            self._later(_SOON, lambda: self._start(number, spec))
            return
        memory: list[int] = []
        try:
            memory += self._sample(spec)
            member = loading.member = self._family.fork(zygote, Role.PROVER, number, spec, memory)
        except (OSError, LinkClosed) as error:
            log.error("no prover of %r can be started (%r)", loading, error)  # noqa: TRY400
            self._lost(loading, -1, Cause.KILLED)
            return
        finally:
            for fd in memory:
                os.close(fd)
        self._later(_NAMELESS, lambda: self._expect_name(zygote, member))

    def _sample(self, spec: dict[str, Any]) -> list[int]:
        """Memory for a sample of recent requests, where the prover is to have one: the gateways fill it.

        Raises:
            OSError: there is no room for it now.
        """
        if not spec.get("sample"):
            return []
        gateways = [g for g in self._family.of(Role.GATEWAY) if g.ready]
        memory = create_sample(len(gateways))
        try:
            for place, gateway in enumerate(gateways):
                body = {"model": spec["worker"]["model"], "place": place}
                self._family.send(gateway, frame(Kind.SAMPLE, body, fds=[memory]))
        except OSError:
            os.close(memory)
            raise
        return [memory]

    def _expect_name(self, zygote: Member, member: Member) -> None:
        """A zygote that is stopped or hangs forks nobody; its death takes those it owes along."""
        if member.pid is None and member.number in self._family.members:
            log.error("%r has not forked %r after %.0f s: killed", zygote, member, _NAMELESS)
            self._family.kill_if_alive(zygote, Cause.STOPPED)

    def _lost(self, loading: Loading, code: int, cause: Cause) -> None:
        """Tell the controller that a loading has no prover any more."""
        self._watch_over.pop(loading.number, None)
        body = {"role": Role.PROVER, "member": loading.member.number if loading.member else 0, "pid": None,
                "loading": loading.number, "code": code, "cause": cause, "restart": False}  # fmt: skip
        message = Frame(Kind.DIED, json.dumps(body).encode(), target=CONTROLLER)
        self._family.send(self._family.one(Role.CONTROLLER), message)
