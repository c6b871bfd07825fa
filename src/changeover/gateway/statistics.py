"""Triton's statistics extension: what this gateway has counted, and what the others have said on the board.

Each gateway writes its counts to its own area four times a second, when there is something new, and more rarely with so
many models that it would take a hundredth of its time; its successor goes on from there. So any gateway answers for all
of them: its own part is as of now, the others' up to a quarter of a second old, and nothing is asked of the controller.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import monotonic, time
from typing import Any

import msgspec

from changeover.errors import Internal
from changeover.gateway.models import Models
from changeover.gateway.router import Target
from changeover.telemetry.statistics import Statistics
from changeover.transport.board import Board

_DECODER = msgspec.json.Decoder(list[Statistics])
_SPARE = 100.0
"""Times of a telling until the next one."""
log = logging.getLogger("changeover.gateway")


class Ledgers:
    """The statistics of all gateways, by loading.

    Args:
        models: what this one serves.
        board: shared with the others.
        place: this gateway's index among them.
    """

    def __init__(self, models: Models, board: Board, place: int) -> None:
        self._models = models
        self._board = board
        self._mine = place + 1
        self._inherited = self._read(self._mine)
        """What those have counted that had this place before."""
        self._told = -1.0
        self._next = 0.0
        self._warned = False

    def of(self, targets: Iterable[Target]) -> list[Statistics]:
        """The counts of these loadings, of all gateways together; what the others have written is read once."""
        others = [self._read(area) for area in self._board.areas if area != self._mine]
        totals = [self._own(target) for target in targets]
        for total in totals:
            for counts in others:
                if (more := counts.get(total.loading)) is not None:
                    total.add(more)
        return totals

    def tell(self) -> None:
        """Write what is new for the other gateways."""
        targets = self._models.targets.values()
        news = sum(t.counter.requests + t.counter.failed + t.batcher.runs.last + t.loading for t in targets)
        began = monotonic()
        if news == self._told or began < self._next:
            return
        self._told = news
        self._inherited = {n: counts for n, counts in self._inherited.items() if n in self._models.targets}
        try:
            self._board.write(self._mine, msgspec.json.encode([self._own(t) for t in targets]))
        except Internal as error:
            if not self._warned:
                log.warning("statistics of this gateway are not shared: %s", error.message)
            self._warned = True
        self._next = began + (monotonic() - began) * _SPARE

    def _own(self, target: Target) -> Statistics:
        """What this gateway and its predecessors have counted; a copy."""
        counter, total = target.counter, target.batcher.runs.statistics(target.loading, monotonic(), int(time() * 1e3))
        total.success, total.success_ns = counter.requests, int(counter.seconds * 1e9)
        total.fail, total.fail_ns = counter.failed, int(counter.failed_seconds * 1e9)
        inherited = self._inherited.get(target.loading)
        if inherited is not None:
            total.add(inherited)
        return total

    def _read(self, area: int) -> dict[int, Statistics]:
        """What a gateway has written; what cannot be read counts as nothing."""
        try:
            text = self._board.read(area)
            return {counts.loading: counts for counts in _DECODER.decode(text)} if text else {}
        except (Internal, msgspec.MsgspecError) as error:
            log.warning("the statistics of gateway %d cannot be read: %s", area - 1, error)
            return {}


def model_stats(ledgers: Ledgers, named: list[tuple[str, list[Target]]]) -> dict[str, Any]:
    """The answer: `model_stats` of these targets, by the names of their models."""
    flat = [(name, target) for name, targets in named for target in targets]
    totals = ledgers.of(target for _, target in flat)
    return {
        "model_stats": [
            total.as_triton(name, target.version) for (name, target), total in zip(flat, totals, strict=True)
        ]
    }
