"""A question to all gateways, and who is silent (DESIGN §5.4-5.6).

Every gateway that lives is asked, also one that appears while the others are being waited for. One in service has
half a second to answer, one that is still joining has as long as a join may take; then it is killed, and its death
ends the waiting for it: its successor reads page and store by itself before it accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from changeover.controller.members import GatewayState
from changeover.errors import Internal
from changeover.transport.control import Committed, Prepare
from changeover.transport.link import Kind

SILENCE = 0.5
JOINING = 10.0
REPLACED = 5.0
"""Seconds in which SIGKILL works, and the supervisor tells of it."""


@dataclass(slots=True)
class Question:
    """What all gateways are asked, and when each of them was.

    Attributes:
        has: whether a gateway has answered.
        joining: a gateway that is not in service yet must answer too.
        asked: by member (monotonic seconds).
    """

    kind: Kind
    body: Prepare | Committed
    has: Callable[[GatewayState], bool]
    joining: bool
    asked: dict[int, float] = field(default_factory=dict)

    def owing(self, gateways: Iterable[GatewayState]) -> list[GatewayState]:
        """Those that are waited for."""
        return [g for g in gateways if (g.ready or self.joining) and not self.has(g)]

    def due(self, gateway: GatewayState) -> float:
        """When it is taken for dead, or when a killed one must be gone (monotonic seconds)."""
        if gateway.killed is not None:
            return gateway.killed + REPLACED
        asked = self.asked.get(gateway.member, gateway.since)
        return max(asked, gateway.since) + (SILENCE if gateway.ready else JOINING)

    def overdue(self, owing: list[GatewayState], now: float) -> list[GatewayState]:
        """Those to be killed now.

        Raises:
            Internal: one was killed, and lives still (reason `gateway_silent`).
        """
        late = [g for g in owing if self.due(g) <= now]
        undead = [g.member for g in late if g.killed is not None]
        if undead:
            raise Internal(f"gateways {undead} do not answer {self.kind.name}", reason="gateway_silent")
        return late


def prepare(word: int, epochs: list[int]) -> Question:
    """Load these tables: answered by all that live, for none may accept without them after the commit."""
    return Question(Kind.PREPARE, Prepare(word, epochs), lambda g: g.has_prepared(word, epochs), joining=True)


def committed(word: int, epoch: int, *, joining: bool) -> Question:
    """An epoch is in force: answered when no pick from an older table is under way, with the leases held."""
    return Question(Kind.COMMITTED, Committed(word, epoch), lambda g: g.has_acknowledged(word, epoch), joining=joining)
