"""A rollout in hand: the offer it is for, its machine state, and what belongs to it outside the machine."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from changeover.clock import utc_now
from changeover.records.certificate import Certificate
from changeover.rollout.judge import Ruling
from changeover.rollout.loading import Loading
from changeover.rollout.machine import Event, Phase, Rollout, Told
from changeover.rollout.offer import Offer
from changeover.rollout.plan_rollout import PlanStep
from changeover.rollout.receipt import Receipt
from changeover.rollout.tables import Share, Watch
from changeover.telemetry import logs
from changeover.telemetry.evidence import Window
from changeover.transport.control import BUCKETS, RoutingTable

_LEAST: Final = PlanStep(1.0, hold=0.0, min_requests=0)
"""What counts where the plan has no step: a weight set by hand, and the undo window."""


UNDO_WINDOW: Final = "undo window"
_VERDICTS: Final = {
    Event.STEP_CLEAR: "clear",
    Event.STEP_FAILED: "failed",
    Event.STEP_INCONCLUSIVE: "inconclusive",
    Event.LOST: "failed",
}
"""How a step ended; by other events it ended by hand, or by the plan."""


def _future() -> asyncio.Future[tuple[Event, Told]]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class Totals:
    """What was counted since the place was taken."""

    requests: dict[str, int] = field(default_factory=lambda: {"active": 0, "candidate": 0})
    failures: dict[str, int] = field(default_factory=lambda: {"active": 0, "candidate": 0})
    shielded: int = 0
    compared: int = 0
    flips: int = 0

    def add(self, window: Window) -> None:
        """One more window."""
        for name, arm in (("active", window.active), ("candidate", window.candidate)):
            self.requests[name] += arm.requests
            self.failures[name] += arm.failures
        self.shielded += window.candidate.shielded
        self.compared += window.pairs.compared
        self.flips += window.pairs.flips

    @property
    def alike(self) -> bool:
        """Whether the active version fails at least half as often as the candidate."""
        ours, theirs, failed = self.requests["candidate"], self.requests["active"], self.failures["active"]
        return failed > 0 and self.failures["candidate"] * theirs <= 2 * failed * ours


@dataclass(slots=True)
class Current:
    """The rollout in hand.

    Attributes:
        candidate: the target's loading, once it has one.
        way_back: the table prepared with the last switch: taking everything back is one store.
        clock: ends the undo window.
        window: seconds of the undo window that are left.
        certificate: of the last term, which a restart must not replace by one of fewer numbers.
        certifying: a new one waits for its numbers.
        ending: the version before drains, and its sequences may take their time.
        stopped: somebody wants it to end while its candidate loads; what for.
        since: when the place in force was taken, RFC 3339; `held` seconds of it are over.
        ruling: what the judge said last, `evidence` of what.
        totals: of all windows since the place was taken.
        memory: what the judge knows.
        known_before: what it knew when the table in force was stored.
        history: every transition so far, oldest first; it is never shorter than it was. A switch that is given up and
            tried again, perhaps for days, is there the first time and the last.
    """

    id: str
    offer: Offer
    rollout: Rollout
    receipt: Receipt
    window: float
    candidate: Loading | None = None
    way_back: RoutingTable | None = None
    clock: asyncio.TimerHandle | None = None
    certificate: Certificate | None = None
    certifying: bool = False
    ending: asyncio.Task[None] | None = None
    stopped: asyncio.Future[tuple[Event, Told]] = field(default_factory=_future)
    since: str | None = None
    held: float = 0.0
    ruling: Ruling | None = None
    evidence: Window | None = None
    totals: Totals = field(default_factory=Totals)
    memory: dict[str, Any] = field(default_factory=dict)
    known_before: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    _history_before: list[dict[str, Any]] = field(default_factory=list)
    _ended_a_step: bool = False

    def __post_init__(self) -> None:
        """What its driver logs from now on is about it."""
        logs.mark(rollout=self.id, version=str(self.offer.version))

    @property
    def steps(self) -> tuple[PlanStep, ...]:
        """Of the plan, before the promotion."""
        return self.offer.plan.rollout.ladder

    @property
    def step(self) -> PlanStep:
        """What the plan says of the place that is taken or held."""
        goal, steps = self.rollout.goal, self.steps
        return steps[goal.step] if goal is not None and 0 <= goal.step < len(steps) else _LEAST

    @property
    def share(self) -> Share:
        """What the candidate is to get at that place."""
        rollout, plan = self.rollout, self.offer.plan
        goal = rollout.goal or rollout.course.first
        mirror = round(self.step.mirror * BUCKETS) if rollout.course.is_shadow(goal) else 0
        name = rollout.course.name(goal)
        return Share(goal.weight, name, mirror, plan.rollout.shield, plan.gates.warmup.finite)

    def standing(self, step: str) -> tuple[str, int]:
        """Name and buckets of the place whose table is in force; a promoted version's has no step."""
        return (step, self.share.weight) if step else (UNDO_WINDOW, BUCKETS - self.watch.holdback)

    @property
    def refused_by(self) -> str | None:
        """The gate that the candidate did not pass, as who has decided."""
        gates = self.candidate.gates if self.candidate else ()
        return next((f"gate:{gate.gate}" for gate in gates if gate.result == "failed"), None)

    @property
    def watch(self) -> Watch:
        """What is looked at once it is promoted."""
        return Watch(self.offer.plan.rollout.held_back, self.offer.plan.gates.warmup.finite)

    @property
    def numbers(self) -> dict[str, Any]:
        """What the certificate says of a step that has ended."""
        totals, ruling = self.totals, self.ruling
        found = [_plain(asdict(finding)) for finding in ruling.findings] if ruling else []
        counted = {
            "held_s": round(self.held, 3),
            "requests": dict(totals.requests),
            "failures": dict(totals.failures),
            "shielded": totals.shielded,
            "compared": totals.compared,
            "flips": totals.flips,
        }
        return {**counted, "detail": ruling.detail if ruling else None, "findings": found}

    def stop(self, event: Event, told: Told) -> None:
        """End it while its candidate loads; the first who wants it counts."""
        if not self.stopped.done():
            self.stopped.set_result((event, told))

    def moved(self, before: Rollout, event: Event) -> bool:
        """Note a transition, or a new term, in the history and the certificate; false when nothing is worth a word."""
        self._history_before, after = self.history, self.rollout
        self._ended_a_step = False
        again = bool(self.history) and self.history[-1]["event"] == event
        if replace(after, stands=before.stands) == before and (again or not event.found):
            return False
        left = after.goal != before.goal or not after.phase.compares
        watched = before.phase is Phase.WATCHING and after.phase is not Phase.WATCHING
        self._ended_a_step = (before.phase.compares and left and before.stands is not None) or watched
        if self._ended_a_step:
            self.receipt.verdict(_VERDICTS.get(event, str(event)), self.numbers)
        entry = _entry(after, event)
        self.history = [*self._before_again(event, entry), entry]
        return True

    def _before_again(self, event: Event, entry: dict[str, Any]) -> list[dict[str, Any]]:
        """The history before an entry, without the one that said the same when the switch was tried the last time."""
        history = self.history
        if event.asked or not history or Event.NOT_SWITCHED not in (event, history[-1]["event"]):
            return history
        for apart in (1, 2):  # the attempt that was given up, or that and what led to it
            *before, last = history[: len(history) - apart + 1] or [{}]
            if _alike(last, entry) and any(_alike(kept, entry) for kept in before[apart - 4 :]):
                return [*before, *history[len(history) - apart + 1 :]]
        return history

    def taken_back(self, before: Rollout) -> None:
        """What was asked for could not be recorded, and nobody has heard of it: all is as before `moved`."""
        self.rollout, self.history = before, self._history_before
        if self._ended_a_step:
            self.receipt.take_back()


def _plain(finding: dict[str, Any]) -> dict[str, Any]:
    """Without the number types of other libraries, which no journal takes."""
    return {name: float(value) if isinstance(value, float) else value for name, value in finding.items()}


def _alike(entry: dict[str, Any], other: dict[str, Any]) -> bool:
    """But for the time, and for a sentence that may name epochs."""
    return all(entry.get(name) == other.get(name) for name in ("event", "phase", "step", "weight", "by", "reason"))


def _entry(rollout: Rollout, event: Event) -> dict[str, Any]:
    return {
        "at": utc_now(),
        "event": str(event),
        "phase": str(rollout.phase),
        "step": rollout.step,
        "weight": rollout.goal.weight if rollout.goal else None,
        "by": rollout.by,
        "reason": rollout.reason,
        "detail": rollout.detail,
    }
