"""What a version goes through while its controller is killed somewhere, and what a client was promised meanwhile.

`instant`: a promotion and its undo, a promotion, and a push that ends its undo window and is refused. `canary`: gates,
shadow, a share, promotion, undo window, drain. `taken_back`: gates, a share, and back by the judge's verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from changeover.testing import Server, exchange, wait_for
from tests import onnx_models

MODEL = "m"
FACTORS = {str(version): float(version + 1) for version in range(1, 20000)}
"""What each good version multiplies by; of a bad one no answer is right that shows its fault."""
ENDS = ("succeeded", "rolled_back", "failed")
OF_THE_DISK = ("journal_unwritable", "artifacts_unwritable", "record_owed")
"""Reasons for which a sound version's rollout may fail while nothing can be written."""
_INSTANT = "rollout: {strategy: instant}\n"
_CANARY = (
    "rollout: {strategy: canary, steps: [shadow, 50%], hold: 200ms, min_requests: 5, max_hold: 60s,"
    " on_inconclusive: rollback, undo_window: 500ms}\n"
)
_TAKEN_BACK = (
    "rollout: {strategy: canary, steps: [50%], hold: 20s, min_requests: 1000, max_hold: 60s,"
    " on_inconclusive: promote}\ngates: {accuracy: {enabled: false}}\n"
)
_CERTIFICATE = 8.0
PAUSE = 0.1
"""Seconds between two looks: to answer costs a traced controller two stops a system call, and to list processes reads
all that there are."""


@dataclass(slots=True)
class Promise:
    """One pushed version, and what a client was told about it."""

    version: int
    good: bool
    rollout: str | None = None
    undo_asked: bool = False
    undone: bool = False
    refused: tuple[str, ...] = ("failed",)
    """How the rollout of a bad one may end."""


@dataclass(slots=True)
class Cast:
    """Whom a life is about: a server, the versions so far, and what was promised in the life that goes on."""

    server: Server
    made: int = 1
    promises: list[Promise] = field(default_factory=list)
    ends: bool = False
    """Whether the rollouts of this life come to an end by themselves, soon."""

    @property
    def versions(self) -> list[str]:
        """Those of this life."""
        return [str(promise.version) for promise in self.promises]

    def deploy_first(self) -> None:
        """Version 1 serves."""
        self.server.deploy(MODEL, onnx_models.scale(FACTORS["1"]).SerializeToString(), 1)

    def begin(self, life: Life) -> None:
        """From now on this life's plan counts, and its promises."""
        self.promises, self.ends = [], life.asks
        self.server.plan(MODEL, life.plan)

    def push(self, model: Any = None, **promised: Any) -> Promise:
        """Push the next version, a sound one unless a model is given."""
        self.made += 1
        promise = Promise(self.made, model is None, **promised)
        self.promises.append(promise)
        data = (model or onnx_models.scale(FACTORS[str(self.made)])).SerializeToString()
        promise.rollout = self.server.push(MODEL, data, self.made)["rollout"]
        return promise

    def reaches(self, promise: Promise, *phases: str) -> str:
        """Wait until a rollout is in one of these phases, or at its end."""

        def phase() -> str | None:
            found: str = self.server.control("GET", f"/v1/rollouts/{promise.rollout}")["phase"]
            return found if found in (*phases, *ENDS) else None

        return wait_for(phase, f"{' or '.join((*phases, 'an end'))} of {promise.rollout}", pause=PAUSE)

    def certified(self, promise: Promise) -> None:
        """Wait for the certificate that tells the end."""
        path = f"/v1/rollouts/{promise.rollout}/certificate"

        def told() -> bool:
            reply = exchange(self.server.control_port, "GET", path)
            return reply.status == 200 and reply.json()["outcome"] in ENDS

        wait_for(told, "the certificate", _CERTIFICATE, PAUSE)

    def released(self) -> None:
        """Wait until the worker of the active version is the only one."""
        wait_for(lambda: len(workers(self.server)) == 1, "the end of the other workers", pause=PAUSE)


def _instant(cast: Cast) -> Promise:
    undone = cast.push()
    cast.reaches(undone, "watching")
    undone.undo_asked = True
    cast.server.control("POST", f"/v1/models/{MODEL}/rollout/undo")
    undone.undone = True
    kept = cast.push()
    cast.reaches(kept, "watching")
    cast.reaches(cast.push(onnx_models.not_a_number()))
    return kept


def _canary(cast: Cast) -> Promise:
    promise = cast.push()
    cast.reaches(promise)
    cast.released()
    return promise


def _taken_back(cast: Cast) -> Promise:
    model = onnx_models.brittle(FACTORS[str(cast.made + 1)])
    promise = cast.push(model, refused=("rolled_back", "failed"))
    cast.reaches(promise)
    cast.released()
    return promise


@dataclass(frozen=True, slots=True)
class Life:
    """A plan, and what is done under it; returns the version whose certificate comes last.

    Attributes:
        asks: it goes on only with requests.
    """

    plan: str
    live: Callable[[Cast], Promise]
    asks: bool = True


LIVES = {
    "instant": Life(_INSTANT, _instant, asks=False),
    "canary": Life(_CANARY, _canary),
    "taken_back": Life(_TAKEN_BACK, _taken_back),
}


def workers(server: Server) -> list[str]:
    """Titles of the workers that live, in order."""
    titles = []
    for process in server.processes():
        try:
            titles.append(" ".join(process.cmdline()).strip())
        except Exception:  # noqa: BLE001, S112 - it went while it was looked at
            continue
    return sorted(title for title in titles if title.startswith("changeover: worker "))


def broken(promise: Promise, rollouts: Sequence[dict[str, Any]], *, sick: bool = False) -> list[str]:
    """What a client was told and does not hold, and ends that no rule leads to.

    Args:
        promise: of a version.
        rollouts: as they are in the end.
        sick: the disk was, so that a sound version may have failed of it.
    """
    found = next((r for r in rollouts if r["to"]["version"] == str(promise.version)), None)
    if found is None:
        return [f"the push of {promise.version} was acknowledged and is lost"] if promise.rollout else []
    phase, name = found["phase"], f"version {promise.version} ({found['reason']})"
    if not promise.good:
        return [] if phase in promise.refused else [f"{name} is broken, and its rollout is {phase}"]
    if promise.undone and phase != "rolled_back":
        return [f"{name} was undone, and its rollout is {phase}"]
    if sick and phase == "failed" and found["reason"] in OF_THE_DISK:
        return []
    allowed = ("watching", "succeeded", "rolled_back") if promise.undo_asked else ("watching", "succeeded")
    return [] if phase in allowed else [f"{name} is sound, and its rollout is {phase}"]
