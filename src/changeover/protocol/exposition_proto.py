"""Metrics as Prometheus' protobuf messages (`io.prometheus.client`, client_model 0.6): the form of native histograms.

A native histogram of schema 5 has 32 buckets to a doubling, as `telemetry.observations` has, so that any quantile of
any window is within 1.1 % of the true one. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from changeover.protocol.exposition import Distribution, Family, Labels
from changeover.protocol.oip_grpc_wire import LENGTH, write_bytes, write_varint

_TYPES: Final = {"counter": 0, "gauge": 1, "summary": 2, "histogram": 4}
_FIELDS: Final = {"gauge": 2, "counter": 3, "summary": 4, "histogram": 7}
_DOUBLE: Final = struct.Struct("<d")
_SCHEMA: Final = 5
_SHIFT: Final = 639
"""Bucket `n` of ours ends at 2^((n - 639) / 32) seconds, which is bucket `n - 639` of schema 5."""
_ZERO: Final = 2.0**-21
"""Seconds below which nothing is counted: the first bucket ends above."""
_NATIVE: Final = b"\x28" + write_varint(_SCHEMA << 1) + b"\x31" + _DOUBLE.pack(_ZERO)
_SMALL: Final = tuple(map(write_varint, range(1 << 12)))


def protobuf(families: Iterable[Family]) -> bytes:
    """The families, each message behind its length."""
    parts: list[bytes] = []
    for family in families:
        body = _family(family)
        parts += [write_varint(len(body)), body]
    return b"".join(parts)


def _family(family: Family) -> bytes:
    counts = family.kind == "counter"
    name = f"{family.name}_total" if counts else family.name
    parts = [write_bytes(1, name.encode()), write_bytes(2, family.about.encode())]
    if _TYPES[family.kind]:
        parts.append(b"\x18" + write_varint(_TYPES[family.kind]))
    place, pack = _FIELDS[family.kind], _DOUBLE.pack
    tag = write_varint(place << 3 | LENGTH)
    for labels, value in family.values:
        parts += (labels.heads.get(place) or _head(labels, place), pack(value))
    for labels, spread in family.distributions:
        inner = _summary(spread) if family.kind == "summary" else _histogram(spread)
        told, size = labels.encoded or _labels(labels), _varint(len(inner))
        parts += (b"\x22", _varint(len(told) + len(tag) + len(size) + len(inner)), told, tag, size, inner)
    if family.unit:
        parts.append(write_bytes(5, family.unit.encode()))
    return b"".join(parts)


def _head(labels: Labels, place: int) -> bytes:
    """All of a metric with one number but that number, which is a double."""
    told = _labels(labels) + write_varint(place << 3 | LENGTH) + b"\x09\x09"  # nine bytes: its tag, and itself
    head = labels.heads[place] = b"\x22" + write_varint(len(told) + _DOUBLE.size) + told
    return head


def _labels(labels: Labels) -> bytes:
    if labels.encoded is None:
        pairs = [write_bytes(1, name.encode()) + write_bytes(2, value.encode()) for name, value in labels.pairs]
        labels.encoded = b"".join(write_bytes(1, pair) for pair in pairs)
    return labels.encoded


def _summary(value: Distribution) -> bytes:
    return b"\x08" + _varint(value.count) + b"\x11" + _DOUBLE.pack(value.total)


def _histogram(value: Distribution) -> bytes:
    """Classic buckets where there is nothing better: readers take one kind or the other."""
    parts = [_summary(value)]
    if value.native is None:
        for end, below in zip(_ends(value.edges), [*value.below, value.count], strict=True):
            number = _varint(below)
            parts += (b"\x1a", _SMALL[len(number) + len(end) + 1], b"\x08", number, end)
    else:
        parts += [_NATIVE, *_native(value.native)]
    return b"".join(parts)


@lru_cache(256)
def _ends(edges: tuple[float, ...]) -> list[bytes]:
    """Of the buckets' messages, the upper edges; the last one is infinite."""
    return [b"\x11" + _DOUBLE.pack(edge) for edge in (*edges, float("inf"))]


def _native(counts: npt.NDArray[np.int64]) -> list[bytes]:
    """Spans of buckets that follow one another, and each count as the difference from the one before."""
    places = counts.nonzero()[0]
    if not len(places):
        return [write_bytes(12, b"\x08\x00\x10\x00")]  # an empty span says that it is a native histogram
    told: list[bytes] = []
    following, start = _SHIFT, 0
    gaps = int(places[-1]) - int(places[0]) >= len(places)
    for end in [*(((places[1:] - places[:-1] > 1).nonzero()[0] + 1).tolist() if gaps else ()), len(places)]:
        first, length, start = int(places[start]), end - start, end
        span = b"\x08" + _varint(_zigzag(first - following)) + b"\x10" + _varint(length)
        told.append(b"\x62" + _SMALL[len(span)] + span)
        following = first + length
    deltas = counts[places]
    deltas[1:] -= deltas[:-1].copy()
    zigzag = (deltas << 1) ^ (deltas >> 63)
    if zigzag.max() < 1 << 7:  # a byte each
        return [*told, write_bytes(13, zigzag.astype(np.uint8).tobytes())]
    small, most = _SMALL, len(_SMALL)
    return [*told, write_bytes(13, b"".join([small[n] if n < most else write_varint(n) for n in zigzag.tolist()]))]


def _varint(number: int) -> bytes:
    return _SMALL[number] if number < len(_SMALL) else write_varint(number)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1
