"""What gateways report of the requests they answered. All counts are cumulative, so that a report may be repeated."""

from __future__ import annotations

import msgspec

from changeover.telemetry.statistics import Ran


class OverGrpc(msgspec.Struct, frozen=True):
    """What of a loading's requests came over gRPC; the rest came over HTTP."""

    latency: dict[int, int]
    seconds: float
    shed: int


class Observed(msgspec.Struct, frozen=True):
    """Gateway to controller, cumulative since the gateway started.

    Attributes:
        latency: sparse: bucket number -> count (see telemetry.observations).
        shielded: answered well by the active version, after this one had failed.
        busy_ns: time of all runs of this gateway's batches; `instances`: how many run at once.
        seconds: of all that were answered well.
        errors: answers that were errors: protocol, reason, fault, how many.
        in_flight: requests without an answer now.
        ran: its runs.
    """

    loading: int
    model: str
    requests: int
    failed: int
    shed: int
    latency: dict[int, int]
    shielded: int = 0
    busy_ns: int = 0
    instances: int = 1
    seconds: float = 0.0
    grpc: OverGrpc | None = None
    errors: list[tuple[str, str, str, int]] = []
    in_flight: int = 0
    ran: Ran = Ran()


class Tallied(msgspec.Struct, frozen=True):
    """Gateway to controller: an arm's evidence, cumulative (see telemetry.tally).

    Attributes:
        member: the worker.
        work: histogram by batch-size class; keys: (requests, failures, number of keys). The rest as in an `Arm`.
    """

    loading: int
    epoch: int
    member: int
    requests: int
    failures: int
    shielded: int
    spent: int
    latency: dict[int, int]
    work: dict[int, dict[int, int]]
    keys: list[tuple[int, int, int]] = []


class Paired(msgspec.Struct, frozen=True):
    """Gateway to controller: mirrored requests of a candidate, cumulative (see telemetry.evidence.Pairs)."""

    loading: int
    epoch: int
    compared: int
    flips: int
    failures: int
    dropped: int
    errors: dict[int, int]
    apart: tuple[float, float, float] = (0.0, 0.0, 1.0)


class Observations(msgspec.Struct, frozen=True):
    """One report of a gateway; `at_ns` is CLOCK_MONOTONIC, `unrouted` errors of requests that came to no model."""

    at_ns: int
    loadings: list[Observed]
    tallies: list[Tallied] = []
    pairs: list[Paired] = []
    unrouted: list[tuple[str, str, str, int]] = []
