"""Scenes that go by the clock on a machine that may stand still: a try in which it did says nothing if it fails."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import ParamSpec

import pytest

P = ParamSpec("P")
_BEAT = 0.005


class Pulse:
    """A thread that does nothing but beat."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def longest(self) -> float:
        """What this process missed at once, in seconds; a pause that has just ended, before the next beat, too."""
        return max(self._longest, time.monotonic() - self._last - _BEAT)

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            self._longest, self._last = self.longest, time.monotonic()


def unless_held_up(seconds: float, tries: int = 6) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A scene that begins anew each time it is called: its failure counts if this process went on all the while.

    Args:
        seconds: a pause of the whole process that may spoil the scene.
        tries: after so many the last failure counts whatever there was.
    """

    def decorate(scene: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(scene)
        def played(*args: P.args, **kwargs: P.kwargs) -> None:
            for left in reversed(range(tries)):
                with Pulse() as pulse:
                    try:
                        scene(*args, **kwargs)
                    except (Exception, pytest.fail.Exception):
                        if not left or pulse.longest < seconds:
                            raise
                    else:
                        return

        return played

    return decorate
