"""A judge that says what a test has it say."""

from __future__ import annotations

from typing import Any

from changeover.rollout.judge import Ruling, Verdict
from changeover.telemetry.evidence import Window

WAITING = Ruling(Verdict.WAITING, "needs_more", "needs 40 more requests")


class ScriptedJudge:
    """Rules once as told (`says`), and waits otherwise.

    Attributes:
        seen: windows that were observed; `asked` the arguments of each ruling.
        remembered: what a last term knew.
    """

    def __init__(self) -> None:
        self.says: Ruling = WAITING
        self.seen: list[Window] = []
        self.asked: list[tuple[float, int, float, float, int | None]] = []
        self.remembered: dict[str, Any] | None = None

    def observe(self, window: Window) -> None:
        self.seen.append(window)

    def ruling(
        self, elapsed: float, minimum: int, hold: float, max_hold: float, next_weight: int | None = None
    ) -> Ruling:
        self.asked.append((elapsed, minimum, hold, max_hold, next_weight))
        said, self.says = self.says, WAITING
        return said

    def memory(self) -> dict[str, Any]:
        return {"windows": len(self.seen)}

    def remember(self, memory: dict[str, Any]) -> None:
        self.remembered = memory


def says(word: str, reason: str | None = None) -> Ruling:
    """A ruling of one verdict."""
    return Ruling(Verdict(word), reason or word, f"the judge says {word}")
