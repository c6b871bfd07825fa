"""A sample of recent requests on its way from the gateways to a prover, or to the controller for an operator.

One memfd is made each time, with an area for each gateway (`page.create_sample`), which goes away with whoever it was
made for: nothing is ever stored. An area begins with a word, the length of the index behind it, after which the data
lies. The word is written last, so an area is empty or whole.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from changeover.tensors import Datatype, Raw, Tensor
from changeover.transport.page import SAMPLE_AREA

LARGEST = 1 << 20
"""Bytes of a request that a gateway keeps: it is copied on the event loop."""
MOST_BYTES = 24 * LARGEST
"""Bytes of data in an area; the rest is for the index. One gateway can bring requests enough, however large."""
MOST_REQUESTS = 256
"""That a gateway keeps, and that a sample of all of them has."""
_AT_ONCE = 1 << 16
"""Bytes after which a turn ends: small requests are written together."""
_MOST_PARTS = 512
"""The kernel takes 1,024 buffers a call."""
_WORD = struct.Struct("<Q")
Request = Sequence[Tensor]
"""Its inputs, in any order."""


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """A tensor in the index."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int


class _Index(msgspec.Struct, frozen=True, array_like=True):
    seen: int
    requests: list[list[_Place]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one gateway kept.

    Attributes:
        seen: requests that it stands for.
        requests: a random sample of them, in random order; empty when it has kept nothing.
    """

    seen: int
    requests: Sequence[Request]


EMPTY = Sample(0, [])


def write(fd: int, place: int, sample: Sample) -> Iterator[None]:
    """Write a sample into its area, some requests a turn; a generator: a gateway does other things between them.

    Args:
        fd: of the memory.
        place: number of the area.
        sample: of at most `MOST_BYTES`; one that does not fit leaves the area empty.
    """
    places = [[_Place(t.name, t.datatype.name, t.shape, len(t.data)) for t in request] for request in sample.requests]
    index = msgspec.msgpack.encode(_Index(sample.seen, places))
    start = place * SAMPLE_AREA
    at = start + _WORD.size
    if _WORD.size + len(index) + sum(p.size for request in places for p in request) > SAMPLE_AREA:
        return
    at += os.pwrite(fd, index, at)
    parts: list[Raw] = []
    size = 0
    for request in sample.requests:
        parts += [tensor.data for tensor in request]
        size += sum(len(tensor.data) for tensor in request)
        if len(parts) >= _MOST_PARTS or size >= _AT_ONCE:
            at += os.pwritev(fd, parts, at)
            parts, size = [], 0
            yield
    os.pwritev(fd, parts, at)
    os.pwrite(fd, _WORD.pack(len(index)), start)


def areas(fd: int) -> int:
    """How many areas this memory has."""
    return os.fstat(fd).st_size // SAMPLE_AREA


def read(fd: int, place: int) -> Sample | None:
    """What a gateway has written; None until it has written all."""
    start = place * SAMPLE_AREA
    (length,) = _WORD.unpack(os.pread(fd, _WORD.size, start))
    if not length:
        return None
    start += _WORD.size
    index = msgspec.msgpack.decode(os.pread(fd, length, start), type=_Index)
    start += length
    size = sum(one.size for places in index.requests for one in places)
    data, at = memoryview(os.pread(fd, size, start)), 0
    requests: list[list[Tensor]] = []
    for places in index.requests:
        requests.append([])
        for one in places:
            requests[-1].append(Tensor(one.name, Datatype[one.datatype], one.shape, data[at : at + one.size]))
            at += one.size
    return Sample(index.seen, requests)


def merged(samples: Sequence[Sample], generator: np.random.Generator) -> list[Request]:
    """One sample of all, in random order: of each as many as fit the number of requests that it stands for."""
    stand = [told.seen / len(told.requests) for told in samples if told.requests]
    found: list[Request] = []
    for told in samples:
        if told.requests:
            part = told.seen / len(told.requests) / max(stand)
            found += told.requests[: round(len(told.requests) * part)]
    return [found[at] for at in generator.permutation(len(found))[:MOST_REQUESTS]]
