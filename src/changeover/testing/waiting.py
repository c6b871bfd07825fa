"""Waiting for what becomes true, with a bound that a busy machine keeps too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 90.0
"""Seconds that anything may take on a busy machine before a test gives up."""
PAUSE = 0.01


def wait_for(condition: Callable[[], T | None], what: str, patience: float = PATIENCE, pause: float = PAUSE) -> T:
    """Ask again until the condition is true; returns its value.

    Args:
        condition: true, or any value that counts as such, in the end.
        what: is waited for.
        patience: seconds that it may take.
        pause: seconds between two questions; more where each costs the server something.

    Raises:
        TimeoutError: it did not become true in `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not true within {patience:g} s")
        time.sleep(pause)
