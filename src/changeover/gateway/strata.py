"""Which bucket a request belongs to: a key has its own, any other gets a random one, spread more evenly than chance."""

from __future__ import annotations

import random
from hashlib import blake2b

from changeover.transport.control import BUCKETS

STRATA = 100
_TENTH = 10


def bucket_of(key: bytes) -> int:
    """The bucket of a key, the same everywhere and for ever."""
    return int.from_bytes(blake2b(key, digest_size=8).digest()) % BUCKETS


class Strata:
    """Buckets of requests without a key: a random one inside the next of a shuffled round of 100 strata."""

    def __init__(self) -> None:
        self._left: list[int] = []

    def bucket(self) -> int:
        """The next request's."""
        if not self._left:
            self._left = _round()
        return self._left.pop() * (BUCKETS // STRATA) + random.randrange(BUCKETS // STRATA)  # noqa: S311 - no secret


def _round() -> list[int]:
    """All strata in a random order, of which each ten that follow one another hold one of each tenth.

    So a round that is not at its end is hardly less exact than a whole one.
    """
    tenths = [random.sample(range(first, first + _TENTH), _TENTH) for first in range(0, STRATA, _TENTH)]
    turns = [random.sample(turn, len(turn)) for turn in zip(*tenths, strict=True)]
    return [stratum for turn in turns for stratum in turn]
