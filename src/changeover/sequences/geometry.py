"""The size of a state slab, and its first bytes. Standard library only, for the supervisor makes the slabs."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Final

from changeover.errors import Internal

MOST_BYTES: Final = 64 << 30
"""Of a slab; it is sparse, so memory is taken by what lives."""
MOST_SAVED: Final = 1 << 30
"""Bytes of one half: what a reader copies at once."""
MAGIC: Final = 0x3142414C53484343
PROLOGUE: Final = 4096
HEAD_BYTES: Final = 192
LENGTH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Geometry:
    """Slots of a slab, and the bytes that one packed `Saved` may take."""

    slots: int
    saved_bytes: int

    @property
    def half(self) -> int:
        """Bytes of a half."""
        return _aligned(self.saved_bytes + LENGTH_BYTES)

    @property
    def heads_at(self) -> int:
        """Where the heads begin."""
        return _aligned(PROLOGUE + 8 * self.slots)

    @property
    def halves_at(self) -> int:
        """Where the halves begin."""
        return _aligned(self.heads_at + HEAD_BYTES * self.slots)

    @property
    def total(self) -> int:
        """Bytes of the whole memfd."""
        return self.halves_at + 2 * self.half * self.slots

    def lay_out(self, fd: int) -> None:
        """Write the first bytes of a new slab."""
        os.pwrite(fd, struct.pack("<QQQ", MAGIC, self.slots, self.saved_bytes), 0)


def checked_geometry(told: object) -> Geometry:
    """The geometry that a worker asks for, [slots, bytes], which may be hostile.

    Raises:
        Internal: it is none, or too large (reason `slab_malformed`).
    """
    if isinstance(told, list) and len(told) == 2 and all(type(n) is int and 0 < n <= MOST_BYTES for n in told):
        geometry = Geometry(*told)
        if geometry.saved_bytes <= MOST_SAVED and geometry.total <= MOST_BYTES:
            return geometry
    raise Internal(f"a state slab of {told!r}", reason="slab_malformed")


def _aligned(size: int) -> int:
    return (size + 63) // 64 * 64
