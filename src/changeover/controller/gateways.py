"""The gateways that live, and the questions to all of them (DESIGN §5.4-5.6, §5.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, monotonic_ns

import msgspec

from changeover.controller.members import GatewayState
from changeover.controller.news import News
from changeover.controller.question import Question
from changeover.transport.control import Acknowledged, Leases, Prepared
from changeover.transport.link import Frame, Kind

Tell = Callable[[Kind, msgspec.Struct, int], None]
"""Sends a message to a member."""


class Gateways:
    """Gateways between their start and their death, joining ones included.

    Attributes:
        vacant: places of gateways that died, and whose successors are not heard of yet.

    Args:
        tell: sends a message to one of them.
        kill: has one killed, with the reason.
        news: of any change.
    """

    def __init__(self, tell: Tell, kill: Callable[[int, str], None], news: News) -> None:
        self.alive: dict[int, GatewayState] = {}
        self.vacant = 0
        self._tell = tell
        self._kill = kill
        self._news = news
        self._questions: list[Question] = []

    def take_over(self, living: list[GatewayState], places: int) -> None:
        """Those that live when a term begins, of so many that there are to be."""
        self.alive.update({gateway.member: gateway for gateway in living})
        self.vacant = max(places - len(self.alive), 0)

    # -- questions -----------------------------------------------------------------------------------------

    async def answered(self, asked: Question) -> None:
        """Wait for all that must answer; the silent are killed, and their death ends the waiting for them.

        Raises:
            Internal: one neither answers nor dies (reason `gateway_silent`).
        """
        with self.posed(asked):
            while owing := self.owing(asked):
                pause = min(map(asked.due, owing)) - monotonic()
                if pause > 0:
                    await self._news.more(pause)
                self._news.listen()  # this process may have slept while they answered
                for gateway in asked.overdue(self.owing(asked), monotonic()):
                    gateway.killed = monotonic()
                    self._kill(gateway.member, f"silent for too long where it had to answer {asked.kind.name}")

    @contextmanager
    def posed(self, asked: Question) -> Iterator[None]:
        """Ask all who were not asked yet, and until the end whoever appears.

        A gateway that read the store before it was changed for this question was announced before that: what has
        arrived is heard first.
        """
        self._news.listen()
        self.ask(asked)
        self._questions.append(asked)
        try:
            yield
        finally:
            self._questions.remove(asked)

    def ask(self, asked: Question) -> None:
        """Ask all that live, once."""
        for gateway in self.alive.values():
            if gateway.member not in asked.asked and not asked.has(gateway):
                self._ask(asked, gateway)

    def owing(self, asked: Question) -> list[GatewayState]:
        """Those that must still answer."""
        return asked.owing(self.alive.values())

    def _ask(self, asked: Question, gateway: GatewayState) -> None:
        asked.asked[gateway.member] = monotonic()
        self._tell(asked.kind, asked.body, gateway.member)

    # -- news ----------------------------------------------------------------------------------------------

    def on_up(self, member: int, pid: int) -> None:
        """One was started; it is asked what the others are being asked."""
        gateway = self.alive[member] = GatewayState(member, pid)
        self.vacant = max(self.vacant - 1, 0)
        for asked in self._questions:
            self._ask(asked, gateway)

    def on_ready(self, message: Frame) -> None:
        """One accepts connections; what it has not answered is asked again."""
        gateway = self.alive.get(message.json()["member"])
        if gateway is None:
            return
        gateway.in_service()
        for asked in self._questions:
            if not asked.has(gateway):
                self._ask(asked, gateway)

    def on_died(self, member: int) -> None:
        """One was reaped: it owes nothing any more, and its leases have ended."""
        if self.alive.pop(member, None) is not None:
            self.vacant += 1

    def on_prepared(self, message: Frame) -> None:
        """One can pick from some tables, or says why not."""
        body = msgspec.json.decode(message.body, type=Prepared)
        gateway = self.alive.get(message.source)
        if gateway is not None:
            gateway.prepared.update({(body.word, epoch): body.error for epoch in body.epochs})

    def on_acknowledged(self, message: Frame) -> None:
        """One can pick from no older table."""
        body = msgspec.json.decode(message.body, type=Acknowledged)
        gateway = self.alive.get(message.source)
        if gateway is not None:
            gateway.acknowledge(body, monotonic_ns())

    def on_leases(self, message: Frame) -> None:
        """One holds no lease any more on a loading that no table in force names."""
        body = msgspec.json.decode(message.body, type=Leases)
        gateway = self.alive.get(message.source)
        if gateway is not None:
            gateway.leases.pop(body.loading, None)
