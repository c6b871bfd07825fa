"""The certificate of a changeover: what was measured while one version took over (design, section 6).

Measured numbers only: what was not measured is `None`, never an estimate and never a silent zero. Written
once when the rollout ends, kept in the journal, shown by `changeover certificate`.
"""

from __future__ import annotations

import msgspec

from changeover.errors import Internal


class VersionRef(msgspec.Struct, frozen=True):
    """A version by its number and its bytes.

    Attributes:
        version: positive number.
        digest: of the sealed artifact.
    """

    version: int
    digest: str


class Requests(msgspec.Struct, frozen=True):
    """Requests answered from the start of the loading to the end of the drain.

    Attributes:
        total: all of them.
        failed: answered with an error that was the model's or the server's fault.
        shielded: failed on the candidate and answered by the active version.
        shed: refused with 503 because a queue was full.
    """

    total: int
    failed: int
    shielded: int
    shed: int | None = None


class Switch(msgspec.Struct, frozen=True):
    """The one store, and what it took before and after.

    Attributes:
        epoch: the new table's.
        store_time: RFC 3339, UTC.
        store_ns: duration of the store, nanoseconds.
        journal_ms: writing `commit` to the journal, before the store.
        prepare_ms: from the first `prepare` to the last gateway's answer.
        first_ack_ms: from the store to the first gateway's acknowledgement.
        last_ack_ms: from the store to the last one.
        gateways: that were alive at the store and acknowledged.
        stale_picks: requests sent to the old version after the store was seen; 0 is promised.
    """

    epoch: int
    store_time: str
    gateways: int
    store_ns: int | None = None
    journal_ms: float | None = None
    prepare_ms: float | None = None
    first_ack_ms: float | None = None
    last_ack_ms: float | None = None
    stale_picks: int | None = None


class Window(msgspec.Struct, frozen=True):
    """Latency of the requests that ended inside one stretch of time.

    Attributes:
        requests: how many.
        window_s: length of the stretch, seconds.
        p50_ms: median, milliseconds; `None` without requests.
        p99_ms: 99th percentile, milliseconds.
    """

    requests: int
    window_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None


class Latency(msgspec.Struct, frozen=True):
    """Latency before, during and after the changeover."""

    before: Window | None = None
    during: Window | None = None
    after: Window | None = None


class Memory(msgspec.Struct, frozen=True):
    """Resident memory of the model's workers together, bytes.

    Attributes:
        before_bytes: with the old version alone.
        peak_bytes: highest seen while both lived.
        after_bytes: with the new version alone.
        released_bytes: what the old version's worker gave back when it ended.
    """

    before_bytes: int | None = None
    peak_bytes: int | None = None
    after_bytes: int | None = None
    released_bytes: int | None = None


class Loading(msgspec.Struct, frozen=True):
    """How the new version came up.

    Attributes:
        quiet_method: how the loading was kept from the live traffic (`nice`, `autogroup`, `affinity`, …).
        load_seconds: from the worker's start to its ready session.
        cache: whether the optimised graph was there already: `hit` or `miss`.
    """

    quiet_method: str | None = None
    load_seconds: float | None = None
    cache: str | None = None


class GateResult(msgspec.Struct, frozen=True):
    """One gate's outcome with its evidence.

    Attributes:
        gate: `integrity`, `structure`, `warmup`, …
        outcome: `passed`, `failed` or `skipped`.
        evidence: numbers and names it rests on.
        reason: stable word when it failed or was skipped.
    """

    gate: str
    outcome: str
    evidence: dict[str, object] = {}
    reason: str | None = None


class Step(msgspec.Struct, frozen=True):
    """One phase of the rollout as it was gone through.

    Attributes:
        name: the phase.
        started: RFC 3339, UTC.
        verdict: how it ended.
        numbers: what was counted in it.
    """

    name: str
    started: str
    verdict: str | None = None
    numbers: dict[str, object] = {}


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one changeover.

    Attributes:
        source: the version that served before; `None` for a model's first. `from` in JSON.
        target: the version that the rollout was for. `to` in JSON.
        outcome: the rollout's terminal phase.
        decided_by: who or what: `plan`, `operator`, `gate:warmup`, …
        started: start of the rollout, RFC 3339, UTC; `ended` its end.
    """

    model: str
    rollout: str
    source: VersionRef | None = msgspec.field(name="from", default=None)
    target: VersionRef = msgspec.field(name="to")
    outcome: str
    decided_by: str
    started: str
    ended: str
    requests: Requests | None = None
    switch: Switch | None = None
    latency: Latency = Latency()
    memory: Memory = Memory()
    loading: Loading = Loading()
    gates: tuple[GateResult, ...] = ()
    steps: tuple[Step, ...] = ()

    def to_json(self) -> bytes:
        """The certificate as JSON, fields in the order above."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes) -> Certificate:
        """The certificate that `to_json` wrote.

        Raises:
            Internal: `certificate_unreadable`.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise Internal(f"The certificate cannot be read: {error}.", reason="certificate_unreadable") from error

    def __repr__(self) -> str:
        before = self.source.version if self.source else "-"
        failed = "not counted" if self.requests is None else f"{self.requests.failed} of {self.requests.total}"
        return f"<Certificate {self.model} {before}→{self.target.version} {self.outcome}, failed {failed}>"
