"""The size of a slab."""

from __future__ import annotations

import os

import pytest

from changeover.errors import Internal
from changeover.sequences.geometry import MOST_BYTES, MOST_SAVED, Geometry, checked_geometry
from changeover.sequences.slab import Slab
from changeover.transport.page import sealed_memfd


def test_a_slab_that_was_laid_out_is_one() -> None:
    """A reader finds the geometry in the memory."""
    geometry = Geometry(5, 100)
    fd = sealed_memfd("test", geometry.total)
    geometry.lay_out(fd)
    assert Slab(fd).geometry == geometry
    assert os.fstat(fd).st_size == geometry.total
    assert os.fstat(fd).st_blocks * 512 <= 4096


def test_nothing_overlaps() -> None:
    """Words, heads and halves, each aligned to 64 bytes."""
    geometry = Geometry(1000, 1)
    assert geometry.heads_at >= 4096 + 8 * 1000
    assert geometry.halves_at >= geometry.heads_at + 192 * 1000
    assert geometry.total == geometry.halves_at + 2000 * 64
    assert [n % 64 for n in (geometry.heads_at, geometry.halves_at, geometry.half)] == [0, 0, 0]


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        [1],
        [0, 8],
        [8, -1],
        ["8", 8],
        [True, 8],
        {"slots": 8},
        [MOST_BYTES, 8],
        [1 << 20, 1 << 20],
        [1, MOST_SAVED + 1],
    ],
)
def test_what_a_hostile_worker_asks_for_is_refused(told: object) -> None:
    """Other types, other lengths, and more than there is."""
    assert checked_geometry([8, 100]) == Geometry(8, 100)
    assert checked_geometry([1, MOST_SAVED]).saved_bytes == MOST_SAVED
    with pytest.raises(Internal) as caught:
        checked_geometry(told)
    assert caught.value.reason == "slab_malformed"
