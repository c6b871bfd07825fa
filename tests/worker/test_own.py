"""Memory beyond a slot."""

from __future__ import annotations

import os

import pytest

from changeover.errors import ModelRunFailed
from changeover.worker import own


def test_what_fits_stays_in_its_slot() -> None:
    """One byte more gets sealed memory of its own."""
    slot = memoryview(bytearray(64))
    assert own.room(slot, 64) == (slot, None)
    memory, fd = own.room(slot, 65)
    assert fd is not None
    assert len(memory) >= 65
    os.close(fd)


def test_no_memory_is_a_failure_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this one, and not of the worker."""

    def full(size: int) -> None:
        raise OSError(f"no room for {size}")

    monkeypatch.setattr("changeover.worker.own.channel.own_memory", full)
    with pytest.raises(ModelRunFailed) as caught:
        own.room(memoryview(b""), 1)
    assert caught.value.reason == "out_of_memory"
