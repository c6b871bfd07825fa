"""The certificate: complete in JSON, and silent about what was not measured."""

from __future__ import annotations

import json

import pytest

from changeover.errors import Internal
from changeover.records.certificate import (
    Certificate,
    GateResult,
    Latency,
    Loading,
    Memory,
    Requests,
    Step,
    Switch,
    VersionRef,
    Window,
)

BARE = Certificate(
    model="mnist",
    rollout="r-000002",
    target=VersionRef(4, "b" * 64),
    outcome="failed",
    decided_by="gate:warmup",
    started="2026-01-31T12:00:00.000000Z",
    ended="2026-01-31T12:00:01.000000Z",
)
FULL = Certificate(
    model="mnist",
    rollout="r-000003",
    source=VersionRef(3, "a" * 64),
    target=VersionRef(4, "b" * 64),
    outcome="succeeded",
    decided_by="plan",
    started="2026-01-31T12:00:00.000000Z",
    ended="2026-01-31T12:10:01.000000Z",
    requests=Requests(total=12000, failed=0, shielded=0, shed=2),
    switch=Switch(9, "2026-01-31T12:00:03.000000Z", 2, 900, 0.2, 3.5, 0.4, 1.1, 0),
    latency=Latency(before=Window(4000, 4.0, 1.1, 2.2), during=Window(0, 2.0)),
    memory=Memory(1000, 2000, 1000, 990),
    loading=Loading("nice", 1.4, "miss"),
    gates=(GateResult("warmup", "passed", {"batches": [1, 32]}),),
    steps=(Step("promoting", "2026-01-31T12:00:03.000000Z", "switched", {"epoch": 9}),),
)


@pytest.mark.parametrize("certificate", [BARE, FULL], ids=["bare", "full"])
def test_json_brings_back_the_same(certificate: Certificate) -> None:
    """What was written is what is read."""
    assert Certificate.from_json(certificate.to_json()) == certificate


def test_the_words_are_those_of_the_design() -> None:
    """`from` and `to`, and every group by its name."""
    shown = json.loads(FULL.to_json())
    assert (shown["from"]["version"], shown["to"]["version"]) == (3, 4)
    assert shown["requests"] == {"total": 12000, "failed": 0, "shielded": 0, "shed": 2}
    assert shown["switch"]["stale_picks"] == 0
    assert shown["latency"]["before"] == {"requests": 4000, "window_s": 4.0, "p50_ms": 1.1, "p99_ms": 2.2}
    assert set(shown) >= {"memory", "loading", "gates", "steps", "decided_by", "started", "ended", "outcome"}


def test_what_was_not_measured_is_null() -> None:
    """No estimate, and no zero that looks like a measurement."""
    shown = json.loads(BARE.to_json())
    assert shown["from"] is None
    assert shown["requests"] is None
    assert shown["switch"] is None
    assert set(shown["memory"].values()) == set(shown["latency"].values()) == {None}
    assert json.loads(FULL.to_json())["latency"]["during"]["p99_ms"] is None


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", BARE.to_json()[:-5], b"\xff"])
def test_damaged_text_is_our_error(text: bytes) -> None:
    """Foreign exceptions stop here."""
    with pytest.raises(Internal) as caught:
        Certificate.from_json(text)
    assert caught.value.reason == "certificate_unreadable"


def test_repr_is_a_sentence_for_operators() -> None:
    """From, to, outcome and the number that matters."""
    assert repr(FULL) == "<Certificate mnist 3→4 succeeded, failed 0 of 12000>"
    assert repr(BARE) == "<Certificate mnist -→4 failed, failed not counted>"
