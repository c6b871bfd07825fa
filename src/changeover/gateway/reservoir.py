"""What a gateway keeps of a model's recent requests: their inputs, in memory, for the next candidate to be tried on.

A random sample: of the first 100,000 requests each is in it with the same chance (Algorithm R: Vitter, 1985), from
then on a request's chance to be there still falls by half with every 69,000 newer ones (Aggarwal, 2006). It is bounded
in requests and bytes, for a model and for all of them, who share alike, and goes away when a model is marked private.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from math import log, log1p
from random import random, sample
from typing import TYPE_CHECKING, Final

from changeover.tensors import Tensor
from changeover.transport.link import Frame
from changeover.transport.sample import EMPTY, LARGEST, MOST_BYTES, MOST_REQUESTS, Sample, write

if TYPE_CHECKING:
    from changeover.gateway.router import Model
    from changeover.gateway.ticket import Ticket

_MOST_SEEN: Final = 100_000
_SHELF: Final = 64 << 20


class Shelf:
    """Bytes that the reservoirs of all models may still take together; whoever has most of them makes room."""

    def __init__(self, left: int = _SHELF) -> None:
        self.left = left
        self.holders: set[Reservoir] = set()
        """Those that keep anything."""

    def has_room(self, taker: Reservoir, size: int) -> bool:
        """Whether there is room now: taken from the largest ones, down to what the taker then has itself."""
        while self.left < size:
            largest = max(self.holders, key=lambda holder: holder.bytes)
            if largest.bytes <= taker.bytes + size:
                return False
            largest.shrink()
        return True


class Reservoir:
    """The sample of one model.

    Attributes:
        skip: requests that pass before the next one is offered; the pipeline counts it down.
        bytes: of all that is kept.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.skip = 0
        self._shelf = shelf
        self._kept: list[list[Tensor]] = []
        self._seen = 0  # with those that `skip` lets pass, up to `_MOST_SEEN`
        self._most = MOST_REQUESTS
        self.bytes = 0

    def offer(self, ticket: Ticket) -> None:
        """A request is being answered well, and was drawn; what is kept of it is a copy."""
        self._keep(ticket)
        if self._seen < _MOST_SEEN:
            self._seen += 1
        self.skip = self._passing()

    def _passing(self) -> int:
        """How many requests are not drawn until the next one is: as if dice were thrown for each (Vitter's X)."""
        passing, chance, stay = 0, 1 - random(), 1.0  # noqa: S311 - no secret
        while self._seen < _MOST_SEEN:
            stay *= 1 - min(self._most / (self._seen + 1), 1.0)
            if stay <= chance:
                return passing
            passing += 1
            self._seen += 1
        return passing + int(log(1 - random()) / log1p(-self._most / _MOST_SEEN))  # noqa: S311 - no secret

    def sample(self) -> Sample:
        """What is kept, in random order."""
        waiting = max(self.skip, 0) if self._seen < _MOST_SEEN else 0
        return Sample(self._seen - waiting, sample(self._kept, len(self._kept)))

    def shrink(self) -> None:
        """Keep one less from now on: others have less room than this one."""
        self._drop()
        self._most = max(len(self._kept), 1)

    def close(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._account(-self.bytes)

    def _keep(self, ticket: Ticket) -> None:
        admitted = ticket.admitted
        size = sum(map(len, admitted.data))
        if ticket.pinned is not None or size > LARGEST or ticket.target.entry.private:
            return
        if len(self._kept) >= self._most and not self._grows(size):
            self._drop()
        while not self._fits(size):
            if not self._kept:
                return
            self._drop()
            self._most = len(self._kept) + 1
        self._account(size)
        specs = ticket.target.inputs
        self._kept.append(
            [
                Tensor(spec.name, spec.datatype, shape, bytes(data))
                for spec, shape, data in zip(specs, admitted.shapes, admitted.data, strict=True)
            ]
        )

    def _drop(self) -> None:
        """Any one of them."""
        at = int(random() * len(self._kept))  # noqa: S311 - no secret
        self._kept[at], gone = self._kept[-1], self._kept[at]
        self._kept.pop()
        self._account(-sum(len(tensor.data) for tensor in gone))

    def _fits(self, size: int) -> bool:
        return self.bytes + size <= MOST_BYTES and self._shelf.has_room(self, size)

    def _grows(self, size: int) -> bool:
        """One that had to keep less may keep one more again where there is room that nobody has."""
        grows = self._most < MOST_REQUESTS and self.bytes + size <= MOST_BYTES and size <= self._shelf.left
        self._most += grows
        return grows

    def _account(self, size: int) -> None:
        self.bytes += size
        self._shelf.left -= size
        (self._shelf.holders.add if self.bytes else self._shelf.holders.discard)(self)


def on_sample(message: Frame, models: Mapping[str, Model]) -> None:
    """A prover is to be given the sample of a model: write it, some requests a turn of the event loop."""
    body = message.json()
    (fd,) = message.fds
    model = models.get(body["model"])
    kept = model.recent.sample() if model is not None and model.recent is not None else EMPTY
    _go_on(write(fd, body["place"], kept), fd)


def _go_on(writing: Iterator[None], fd: int) -> None:
    try:
        next(writing)
    except (StopIteration, OSError):  # written, or no memory: then the area stays empty
        os.close(fd)
    else:
        asyncio.get_running_loop().call_soon(_go_on, writing, fd)
