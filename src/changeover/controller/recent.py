"""Recent requests of a model for whoever may see them: asked of the gateways, in memory only, as a prover gets them."""

from __future__ import annotations

import asyncio
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from changeover.transport.control import Signature
from changeover.transport.link import Frame, Kind
from changeover.transport.page import create_sample
from changeover.transport.sample import EMPTY, MOST_BYTES, MOST_REQUESTS, Request, Sample, areas, merged, read

_PATIENCE: Final = 10.0
"""Seconds that a gateway may take to write: mostly milliseconds. What is late is left out."""
_PAUSE: Final = 0.01
_MOST_TEXT: Final = MOST_BYTES // MOST_REQUESTS
"""Bytes of a sample's texts: no more than numbers take, even if all are as long."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Archive:
    """Samples as an `.npz`: an array an input by its name, samples on the first axis.

    Attributes:
        seen: requests that they stand for.
        samples: how many there are; of a model that takes rows each is one row of a request.
        left_out: requests of another shape than most, which cannot lie in one array with them, or of too long texts.
    """

    data: bytes
    seen: int
    samples: int
    left_out: int


class RecentRequests:
    """Asks one model at a time, so that no more than one sample is ever held.

    Args:
        send: sends a frame to the supervisor.
        term: of this controller.
    """

    def __init__(self, send: Callable[[Frame], None], term: int) -> None:
        self._send = send
        self._term = term
        self._turn = asyncio.Semaphore()

    async def archive(self, model: str, gateways: Sequence[int], signature: Signature) -> Archive:
        """What these gateways have kept of a model; no samples where that is nothing.

        Args:
            model: its name.
            gateways: members that serve.
            signature: of the version that the samples are for.
        """
        async with self._turn:
            memory = create_sample(len(gateways))
            try:
                for place, member in enumerate(gateways):
                    body = msgspec.json.encode({"model": model, "place": place})
                    self._send(Frame(Kind.SAMPLE, body, term=self._term, target=member, fds=[memory]))
                samples = await _written(memory)
            finally:
                os.close(memory)
            return await asyncio.to_thread(_archive, samples, signature)


async def _written(memory: int) -> list[Sample]:
    until = asyncio.get_running_loop().time() + _PATIENCE
    samples: list[Sample | None] = [None] * areas(memory)
    while True:
        for place, told in enumerate(samples):
            samples[place] = told or await asyncio.to_thread(read, memory, place)
        if None not in samples or asyncio.get_running_loop().time() > until:
            return [told or EMPTY for told in samples]
        await asyncio.sleep(_PAUSE)


def _archive(samples: Sequence[Sample], signature: Signature) -> Archive:
    generator = np.random.default_rng()
    seen, names = sum(told.seen for told in samples), {spec.name for spec in signature.inputs}
    requests = [one for one in merged(samples, generator) if {tensor.name for tensor in one} == names]
    taken = (_sample(one, generator if signature.batchable else None) for one in requests)
    rows = [one for one in taken if one is not None]
    shapes = Counter(map(_shapes, rows))
    usual = max(shapes, key=lambda one: shapes[one], default=None)
    kept = [one for one in rows if _shapes(one) == usual]
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{name: np.stack([one[name] for one in kept]) for name in names if kept})
    return Archive(file.getvalue(), seen, len(kept), len(requests) - len(kept))


def _sample(request: Request, generator: np.random.Generator | None) -> dict[str, Array] | None:
    """The inputs of a request by name; with a generator any one row of them: those of one request are alike.

    None where its texts would take too much: in one array all are as long as the longest, of this request and others.
    """
    arrays = {t.name: t.numpy() for t in request}
    if generator is not None:
        at = int(generator.integers(min(len(array) for array in arrays.values())))
        arrays = {name: array[at, ...] for name, array in arrays.items()}
    texts = {name: array for name, array in arrays.items() if array.dtype == object}
    if any(array.size * max(map(len, array.flat), default=0) > _MOST_TEXT for array in texts.values()):
        return None
    return arrays | {name: array.astype("S") for name, array in texts.items()}


def _shapes(sample: dict[str, Array]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(sorted((name, array.shape) for name, array in sample.items()))
