"""What a step is of, and whom it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from changeover.gateway.sequences.course import Wish

if TYPE_CHECKING:
    from changeover.errors import ChangeoverError
    from changeover.gateway.router import Model, Target
    from changeover.gateway.sequences.asked import Asked
    from changeover.gateway.sequences.line import Line
    from changeover.gateway.sequences.step import Step
    from changeover.gateway.sequences.where import Where
    from changeover.gateway.ticket import Ticket
    from changeover.sequences.saved import Token
    from changeover.tensors import Tensor


class Counter(Protocol):
    """Who answers clients: the pipeline."""

    def check_outputs(self, ticket: Ticket, target: Target) -> None:
        """Refuse outputs that the loading has not: raises InvalidRequest."""

    def answer(self, ticket: Ticket, outputs: list[Tensor]) -> None:
        """Encode and send."""

    def fail(self, ticket: Ticket, error: ChangeoverError) -> None:
        """Send an error."""


class House(Protocol):
    """What all steps share: see `Sequences`."""

    desk: Counter

    def where(self, step: Step) -> Where:
        """Where its sequence may be; raises as `where.where`."""

    def target(self, loading: int) -> Target | None:
        """A loading that this gateway knows."""

    def over(self, step: Step) -> None:
        """It is done."""


class Stray(NamedTuple):
    """A record that is to be moved: it lies at `source`, and goes to its goal, or to another loading."""

    key: bytes
    tag: bytes
    source: int
    to: int | None = None


class Request(NamedTuple):
    """What a step is of: `ticket` and `asked` are None for a move, `to` is where that goes if not to the goal."""

    model: Model
    line: Line
    token: Token
    ticket: Ticket | None = None
    asked: Asked | None = None
    to: int | None = None

    @property
    def wish(self) -> Wish:
        """What is wanted of the sequence."""
        if self.asked is None:
            return Wish.MOVE
        return Wish.BEGIN if self.asked.start else Wish.STEP
