"""Bodies of the control API about rollouts, as types: what is sent and what is described in `/openapi.json` are one.

Versions are texts, times RFC 3339 in UTC, durations seconds. What was not measured is null.
"""

from __future__ import annotations

from typing import Any

import msgspec


class VersionName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version by its number and its bytes."""

    version: str
    digest: str


class StepBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The step that a rollout is at, `index` of `of`, counted from 1; its least time and least requests.

    `requests`: what counts towards the least: answered ones, and in a shadow step compared copies.
    """

    index: int
    name: str
    of: int
    since: str | None = None
    held_s: float | None = None
    hold_s: float | None = None
    requests: int | None = None
    min_requests: int | None = None


class WeightBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The new version's share: `set` in buckets of 10,000, `actual` as a fraction of the requests at this step."""

    set: int
    actual: float | None = None


class ArmBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one version answered of the judged traffic at this step.

    `shielded`: failures that no client saw. `rps` and the percentiles are of the last seconds.
    """

    version: str
    requests: int
    failures: int
    shielded: int
    rps: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class ArmsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both versions of a rollout: the one that served before, and the one that is being proven."""

    active: ArmBody | None = None
    candidate: ArmBody | None = None


class FindingBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one test has found: an estimate with its confidence sequence, and how many more requests it needs."""

    test: str
    verdict: str
    detail: str
    log_e: float | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    need: int | None = None


class RulingBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The judge's verdict: `waiting`, `clear`, `passed`, `inconclusive` or `failed`."""

    verdict: str
    reason: str
    detail: str
    findings: list[FindingBody] = []


class GateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gate's result, `passed`, `failed` or `skipped`, with what it rests on."""

    gate: str
    result: str
    detail: str | None = None
    evidence: dict[str, Any] = {}


class MomentBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that a rollout went through; `by`: `plan`, `operator`, `judge`, `worker`, `gate:warmup` and so on.

    `event` is the machine's word for it, `weight` the share that was wanted then, in buckets of 10,000.
    """

    at: str
    phase: str
    event: str | None = None
    step: str | None = None
    weight: int | None = None
    by: str | None = None
    reason: str | None = None
    detail: str | None = None


class RolloutBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollout in short; `from` is null for a model's first version, `undo_until` unless it can be undone."""

    id: str
    model: str
    source: VersionName | None = msgspec.field(name="from", default=None)
    target: VersionName = msgspec.field(name="to")
    phase: str
    reason: str | None = None
    detail: str | None = None
    started: str
    updated: str
    ended: str | None = None
    step: StepBody | None = None
    weight: WeightBody | None = None
    undo_until: str | None = None


class RolloutStatus(RolloutBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollout with all that is known of it; `steps`: names of the plan's steps, in order."""

    arms: ArmsBody = ArmsBody()
    ruling: RulingBody | None = None
    gates: list[GateBody] = []
    steps: list[str] = []
    history: list[MomentBody] = []
    plan: dict[str, Any] | None = None


class RolloutList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's rollouts, newest first."""

    rollouts: list[RolloutBody]


class Explanation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a rollout is where it is."""

    rollout: str
    sentences: list[str]


class StartBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollout to be started: a known version (`4`, or `4@ab12`), and fields of a plan that count over its own."""

    version: str | int
    plan: dict[str, Any] | None = None


class ShareBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of the traffic that the new version is to have: `25%`, or as a fraction 0.25."""

    weight: str | float


class PushedBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version that was stored, and the rollout that it began."""

    model: str
    version: str
    digest: str
    rollout: str | None = None


class AlertBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert. `value` and `limit` are in the unit that `detail` tells; `since` is RFC 3339, UTC."""

    alert: str
    state: str
    severity: str
    model: str | None
    version: str | None
    rollout: str | None
    value: float | None
    limit: float | None
    baseline: float | None
    since: str
    detail: str


class AlertList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those that fire, the oldest first."""

    alerts: list[AlertBody]
