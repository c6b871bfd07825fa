"""Waiting for a rollout's outcome, without the looking and the sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable

from changeover.client.ask import Document
from changeover.errors import DeadlineExceeded

DECIDED = frozenset({"watching", "succeeded", "rolled_back", "failed"})
"""Phases with an outcome; in `watching` the new version has all traffic and the old one is only kept warm."""

OnChange = Callable[[Document], None]


class Vigil:
    """One wait.

    Args:
        timeout: seconds.
        on_change: sees the rollout at each new phase and step.
    """

    def __init__(self, rollout: str, timeout: float, on_change: OnChange | None = None) -> None:
        self._rollout, self._timeout, self._on_change = rollout, timeout, on_change
        self._begun = time.monotonic()
        self._place: tuple[str, str | None] = ("unknown", None)

    def over(self, rollout: Document | None) -> bool:
        """Whether the outcome is known; None where nobody answered.

        Raises:
            DeadlineExceeded: it is not, and the time is over; the rollout goes on without the caller.
        """
        if rollout is not None:
            if place_of(rollout) != self._place:
                self._place = place_of(rollout)
                if self._on_change is not None:
                    self._on_change(rollout)
            if rollout["phase"] in DECIDED:
                return True
        if self.left <= 0:
            raise too_late(self._rollout, self._place[0], self._timeout)
        return False

    @property
    def left(self) -> float:
        """Seconds until the wait is over."""
        return self._begun + self._timeout - time.monotonic()

    def pause(self) -> float:
        """Return the seconds until the next look."""
        return pause_after(time.monotonic() - self._begun)


def pause_after(waited: float) -> float:
    """Return the seconds until the next look: soon in the beginning, once a second in a long rollout."""
    return 0.2 if waited < 10 else 1.0


def too_late(rollout: str, phase: str, timeout: float) -> DeadlineExceeded:
    """Return the error of a wait that found no end."""
    return DeadlineExceeded(
        f"rollout {rollout} is still {phase} after {timeout:g} s; it goes on: look again with "
        "`changeover rollout status NAME --wait`",
        reason="wait_timeout",
    )


def place_of(rollout: Document) -> tuple[str, str | None]:
    """Return the phase, and the name of the step within it."""
    step = rollout.get("step")
    return str(rollout["phase"]), step["name"] if step else None
