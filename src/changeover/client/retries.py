"""When a call is tried again: only where that is safe, never before the server wants it, never past the deadline."""

from __future__ import annotations

import random
import time

from changeover.client.ask import Ask, ConnectionLost, Unreachable, Untrusted
from changeover.errors import ChangeoverError, DeadlineExceeded

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_SCATTER = 0.1
"""Those who were all told the same time come within a tenth of it, not all at once."""


class Tries:
    """The tries of one call.

    Again is tried: a connection that could not be made; one that broke, once, and a 503, where asking twice does no
    harm (a question, an inference without a sequence).

    Args:
        timeout: seconds for all tries and the pauses between them.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._until = time.monotonic() + timeout
        self._count = self._broken = 0

    def left(self) -> float:
        """Seconds until the deadline.

        Raises:
            DeadlineExceeded: none.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise self.too_late()
        return left

    def too_late(self) -> DeadlineExceeded:
        """The error of a call whose time is over."""
        return DeadlineExceeded(f"no answer within {self._timeout:g} s")

    def pause(self, what: Ask, error: ChangeoverError) -> float:
        """Return the seconds to wait before the next try.

        Raises:
            ChangeoverError: the error itself, when there is no next try.
        """
        if not self._again(what, error):
            raise error
        told = getattr(error, "retry_after", None)
        pause = min(_FIRST_PAUSE * 2**self._count, _LONGEST_PAUSE) if told is None else float(told)
        pause *= 1 + random.uniform(0, _SCATTER)  # noqa: S311 - it spreads load
        self._count += 1
        if time.monotonic() + pause >= self._until:
            raise error
        return pause

    def _again(self, what: Ask, error: ChangeoverError) -> bool:
        if isinstance(error, ConnectionLost):
            self._broken += 1
            return what.repeatable and self._broken == 1
        if isinstance(error, Unreachable):
            return not isinstance(error, Untrusted)
        return error.status == 503 and what.repeatable
