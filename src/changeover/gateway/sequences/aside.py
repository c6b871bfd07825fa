"""What a step does beside its errands: others forget, who is to get a state is held, who was shielded is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from changeover.gateway.sequences.errand import forget
from changeover.telemetry.tally import Tally

if TYPE_CHECKING:
    from changeover.gateway.router import Target
    from changeover.gateway.sequences.errand import Errand
    from changeover.gateway.sequences.request import House, Request
    from changeover.gateway.sequences.where import Where


def forget_elsewhere(house: House, request: Request, where: Where, goal: int) -> None:
    """What lies of a sequence that begins anew must never come back; nobody waits for that."""
    for place in where.map.places:
        target = house.target(place)
        if place != goal and target is not None and not target.batcher.gone and target.may_have_sequences:
            forget(target, request, where.epoch)


def shielded(errand: Errand) -> None:
    """A candidate's failure that its client does not see; the judge does."""
    errand.model.budget.spend()
    if isinstance(errand.tally, Tally):
        errand.tally.failed(errand.key)
        errand.tally.shielded += 1
        errand.target.counter.shielded += 1


class Holds:
    """Where a state comes from and goes to: both stay, as if a request were there, until it has come to something."""

    def __init__(self) -> None:
        self._held: list[Target] = []

    def hold(self, *targets: Target | None) -> None:
        """From the moment the state is asked for: else it could be let go while the state is on the way."""
        for target in targets:
            if target is not None and target not in self._held:
                target.backing += 1
                self._held.append(target)

    def release(self) -> None:
        """Let all go."""
        held, self._held = self._held, []
        for target in held:
            target.stand_down()
