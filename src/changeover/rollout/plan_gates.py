"""Section `gates` of a plan: what a version must pass before it gets any traffic. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Metric = Literal["top1", "topk", "tolerance", "cosine", "agreement"]
"""How a golden set's outputs are compared: see `AccuracyGate`."""


class WarmupGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gate `warmup`.

    Attributes:
        finite: floating-point outputs must hold no NaN and no infinity; while a candidate is being proven on live
            traffic, such an answer counts as failed, and the client gets the active version's.
    """

    finite: bool = True


class AccuracyGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gate `accuracy`, on a golden set, or without one on recent traffic.

    Attributes:
        enabled: false skips the gate.
        metric: `top1`, `topk` (the label is among the k highest), `tolerance` (every value within `tolerance`),
            `cosine`, `agreement` (the same top-1 as the active version); `None`: what the golden set has.
        min: smallest share or similarity that passes; `None`: the metric's own default.
        k: of `topk`.
        tolerance: absolute, and relative to the expected value.
    """

    enabled: bool = True
    metric: Metric | None = None
    min: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    k: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 1e-3


class PerformanceGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gate `performance`.

    Attributes:
        enabled: false skips the gate.
        max_ratio: most worker CPU time for a run, as a multiple of the active version's.
        min_difference: seconds that a run must take more to be refused, whatever the ratio. The default is what the
            hand-over of a run to its worker costs: of less no client and no throughput tells.
    """

    enabled: bool = True
    max_ratio: Annotated[float, msgspec.Meta(gt=0)] = 1.5
    min_difference: Annotated[float, msgspec.Meta(ge=0)] = 0.00002


class ResourcesGate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gate `resources`.

    Attributes:
        enabled: false skips the gate.
        max_memory: share of the control group's or the machine's memory that old and new may take together.
    """

    enabled: bool = True
    max_memory: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8


class GatesPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `gates`."""

    warmup: WarmupGate = WarmupGate()
    accuracy: AccuracyGate = AccuracyGate()
    performance: PerformanceGate = PerformanceGate()
    resources: ResourcesGate = ResourcesGate()
