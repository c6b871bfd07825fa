"""What Triton's protocol has beyond the standard, on the HTTP port: one handler for each endpoint of `http.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from changeover.gateway.answers import json_answer
from changeover.gateway.catalogue import known, target_of
from changeover.gateway.model_config import model_config
from changeover.gateway.models import Models
from changeover.gateway.router import Target
from changeover.gateway.statistics import Ledgers, model_stats
from changeover.transport.board import Board

if TYPE_CHECKING:
    from changeover.gateway.door.request import HttpRequest
    from changeover.gateway.http import Route

Handler = Callable[["HttpRequest", "Route"], None]


class Extensions:
    """The extensions of one gateway.

    Args:
        models: what it serves.
        board: shared with the other gateways.
        place: this gateway's index among them.
    """

    def __init__(self, models: Models, board: Board, place: int) -> None:
        self._models = models
        self.ledgers = Ledgers(models, board, place)
        self.handlers: Mapping[str, Handler] = {
            "statistics": self._statistics,
            "all_statistics": self._all_statistics,
            "config": self._config,
        }

    def tell(self) -> None:
        """Let the other gateways know what is new; called every quarter of a second."""
        self.ledgers.tell()

    def _statistics(self, request: HttpRequest, found: Route) -> None:
        model = known(self._models, found.model)
        if found.version is None:
            targets = _in_order(model.refresh().targets.values())
        else:
            targets = [target_of(self._models, found.model, found.version)]
        json_answer(request, model_stats(self.ledgers, [(found.model, targets)]))

    def _all_statistics(self, request: HttpRequest, _: Route) -> None:
        named = [
            (name, _in_order(model.refresh().targets.values()))
            for name, model in sorted(self._models.by_name.items())
            if model.in_force
        ]
        json_answer(request, model_stats(self.ledgers, named))

    def _config(self, request: HttpRequest, found: Route) -> None:
        target = target_of(self._models, found.model, found.version)
        json_answer(request, model_config(found.model, target.entry, target.batcher.instances))


def _in_order(targets: Iterable[Target]) -> list[Target]:
    """By the numbers of their versions."""
    return sorted(targets, key=lambda t: (len(t.version), t.version, t.loading))
