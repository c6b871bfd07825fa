"""Streams of Triton's client: what it sends, and what it hears."""

from __future__ import annotations

from typing import Any

import numpy as np

from changeover.testing import wait_for


class Heard:
    """What Triton's client heard on a stream, in the order it came."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, Any]] = []

    def __call__(self, result: Any, error: Any) -> None:
        """A message of the stream."""
        self.all.append((result, error))

    def wait_for(self, count: int) -> list[tuple[Any, Any]]:
        """The first so many."""
        wait_for(lambda: len(self.all) >= count, f"{count} messages of the stream")
        return self.all[:count]


def put(client: Any, value: float, columns: int = 4) -> list[Any]:
    """Triton's input of one row."""
    made = client.InferInput("x", [1, columns], "FP32")
    made.set_data_from_numpy(np.full((1, columns), value, np.float32))
    return [made]
