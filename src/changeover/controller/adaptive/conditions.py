"""What a model runs under: the traffic it gets, and the hardware below it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

_MEMORY: Final = 0.1
"""Part by which the memory may differ: a machine has some more or less after each start."""


class Hardware(msgspec.Struct, frozen=True):
    """What settings are the best for, beside the traffic.

    Attributes:
        cores: that this server may use.
        cpu: digest of the processor's name and features.
        onnxruntime: its version.
        memory: bytes that may be used, of the control group or the machine.
    """

    cores: int
    cpu: str
    onnxruntime: str
    memory: int

    def changed_from(self, old: Hardware) -> list[str]:
        """What is another one, as sentences; nothing where all is as it was."""
        found = []
        if self.cores != old.cores:
            found.append(f"cores: {self.cores}, were {old.cores}")
        if self.cpu != old.cpu:
            found.append("another processor, or other features of it")
        if self.onnxruntime != old.onnxruntime:
            found.append(f"ONNX Runtime {self.onnxruntime}, was {old.onnxruntime}")
        if abs(self.memory - old.memory) > _MEMORY * old.memory:
            found.append(f"memory: {self.memory:,} bytes, were {old.memory:,}")
        return found


class Traffic(msgspec.Struct, frozen=True):
    """What a model gets: requests a second, and the median of the rows that its runs have."""

    rate: float
    batch: float

    def moved_from(self, old: Traffic, factor: float) -> Iterator[str]:
        """What has moved by this factor at least, and where to: `rate up`, `rate down`, `batch up`, `batch down`."""
        for name, new, before in (("rate", self.rate, old.rate), ("batch", self.batch, old.batch)):
            if new >= before * factor:
                yield f"{name} up"
            elif new * factor <= before:
                yield f"{name} down"


def traffic_of(requests: float, sizes: Mapping[int, int], seconds: float) -> Traffic | None:
    """What so many requests in so many seconds are; None where they are too few to tell anything.

    Args:
        requests: that were run.
        sizes: runs by their rows.
        seconds: in which.
    """
    runs = sum(sizes.values())
    if seconds <= 0 or requests < seconds or runs <= 0:  # one a second is the least
        return None
    passed = 0
    for rows in sorted(sizes):
        passed += sizes[rows]
        if 2 * passed >= runs:
            return Traffic(requests / seconds, float(rows))
    return None


def typical(slices: Sequence[Traffic]) -> Traffic:
    """The median of some."""
    return Traffic(median(one.rate for one in slices), median(one.batch for one in slices))
