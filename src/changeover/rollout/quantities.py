"""Durations, sizes and shares as people write them in a plan: `10m`, `500ms`, `2GiB`, `512MB`, `0.1%`. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")
_PERCENT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")

_MOST: Final = 1e18
"""Of seconds, bytes or parts: what is more is a slip, and no number that can be reckoned with."""
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

_BYTES: Final = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def seconds(value: object) -> float:
    """The duration in seconds; a number stands for seconds.

    Raises:
        ValueError: with a sentence that says what is expected.
    """
    return _quantity(value, _SECONDS, "duration such as 500ms, 30s, 10m or 2h")


def size_bytes(value: object) -> int:
    """The size in whole bytes; a number stands for bytes.

    Raises:
        ValueError: with a sentence that says what is expected.
    """
    return int(_quantity(value, _BYTES, "size such as 512MB or 2GiB"))


def share(value: object) -> float:
    """The share as a fraction of one; a number stands for the fraction itself, so 5 % are `5%` or 0.05.

    Raises:
        ValueError: with a sentence that says what is expected.
    """
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is not None and float(match[1]) <= _MOST:
        return float(match[1]) / 100
    return _quantity(value, {}, "share such as 5% or 0.1%" + ("" if isinstance(value, str) else ", or 0.05"))


def percent(fraction: float) -> str:
    """A fraction as it is written in a plan: `5%`."""
    return f"{round(fraction * 100, 6):g}%"


def _quantity(value: object, units: Mapping[str, float], expected: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return value
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    found = float(match[1]) * units[match[2]] if match is not None and match[2] in units else math.inf
    if found > _MOST:
        raise ValueError(f"{value!r} is no {expected}")
    return found
