"""A client beside something hostile: it asks every 5 ms, and keeps the slowest answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

WireT = TypeVar("WireT")


class Bystander:
    """Asks until the end of the block.

    Args:
        wire: its connection, opened.
        ask: one request over it; whether it was answered rightly. An `OSError` is a lost request, and the last one.
    """

    def __init__(self, wire: AbstractContextManager[WireT], ask: Callable[[WireT], bool]) -> None:
        self._stop = threading.Event()
        self.requests = self.lost = 0
        self.slowest_ms = 0.0
        self._thread = threading.Thread(target=self._run, args=(wire, ask))

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self, requests: int = 0, lost: int = 0, **more: Any) -> dict[str, Any]:
        """A check's figures, with its own requests and the lost ones of them added to those of others."""
        told = {"requests": requests + self.requests, "lost": lost + self.lost, **more}
        return told | {"bystander": self.requests, "bystander_slowest_ms": round(self.slowest_ms, 1)}

    def _run(self, wire: AbstractContextManager[WireT], ask: Callable[[WireT], bool]) -> None:
        with wire as opened:
            while not self._stop.wait(0.005):
                began = time.perf_counter()
                self.requests += 1
                try:
                    self.lost += not ask(opened)
                except OSError:
                    self.lost += 1
                    return
                self.slowest_ms = max(self.slowest_ms, (time.perf_counter() - began) * 1e3)
