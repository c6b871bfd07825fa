"""Recent requests through a candidate and the active version, both real sessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from changeover.prover.gates import agreement
from changeover.prover.gates.agreement import LEAST_REQUESTS, Agreement
from changeover.prover.recent import Recent
from changeover.rollout.plan_gates import AccuracyGate
from changeover.transport.control import GateResult
from tests import onnx_models
from tests.prover.sessions import subject

ROWS = np.random.default_rng(7).random((200, 1, 4), np.float32)


def quiet() -> None:
    """No sign of life is wanted."""


def said(
    folder: Path, factor: float, rows: np.ndarray = ROWS, disagreement: float = 0.01, **rule: object
) -> GateResult | None:
    """What the gate says of `y = factor * x` beside `y = 2 * x`."""
    pair = [subject(folder, onnx_models.scale(f)) for f in (factor, 2.0)]
    gate = Agreement(AccuracyGate(**rule), disagreement, quiet)  # type: ignore[arg-type]
    return gate.gate(Recent(1000, [{"x": row} for row in rows]), *pair)


def test_equal_versions_agree(tmp_path: Path) -> None:
    """With the exact interval of 200 of 200."""
    result = said(tmp_path, 2.0)
    assert result is not None
    assert (result.result, result.evidence["value"], result.evidence["of"]) == ("passed", 1.0, 1000)
    assert result.evidence["low"] == pytest.approx(0.025 ** (1 / 200), abs=1e-6)
    assert (result.evidence["interval"], result.evidence["samples"]) == ("clopper-pearson", 200)


@pytest.mark.parametrize(
    ("others", "disagreement", "verdict"),
    [(4, 0.01, "passed"), (9, 0.01, "failed"), (9, 0.05, "passed"), (30, 0.05, "failed")],
)
def test_the_interval_refuses_not_the_value(tmp_path: Path, others: int, disagreement: float, verdict: str) -> None:
    """Four of 200 over a limit of 1 % may be chance, nine are not; `-2 x` has another best class than `2 x`."""
    rows = ROWS.copy()
    rows[others:] = 0.5  # all scores alike: the first class, of both
    result = said(tmp_path, -2.0, rows, disagreement)
    assert result is not None
    assert (result.result, result.evidence["value"]) == (verdict, 1 - others / 200)


@pytest.mark.parametrize(
    ("rule", "factor", "verdict", "interval"),
    [
        ({"metric": "tolerance"}, 2.0001, "passed", "clopper-pearson"),
        ({"metric": "tolerance"}, 2.1, "failed", "clopper-pearson"),
        ({"metric": "cosine"}, 7.0, "passed", "bootstrap"),
        ({"metric": "cosine"}, -2.0, "failed", "bootstrap"),
        ({"metric": "cosine", "min": -1.0}, -2.0, "passed", "bootstrap"),
    ],
)
def test_other_metrics(tmp_path: Path, rule: dict[str, object], factor: float, verdict: str, interval: str) -> None:
    """Each beside the active version's answer."""
    result = said(tmp_path, factor, **rule)
    assert result is not None
    assert (result.result, result.evidence["interval"]) == (verdict, interval)


def test_numbers_without_classes_are_compared_by_their_error(tmp_path: Path) -> None:
    """A single number a row: the bounded error, as in the shadow."""
    rows = [{"x": row} for row in ROWS[:40, :, :1]]
    active = subject(tmp_path, onnx_models.scale(2.0, columns=1))
    for factor, verdict in ((2.01, "passed"), (2.2, "failed")):
        other = subject(tmp_path, onnx_models.scale(factor, columns=1))
        result = Agreement(AccuracyGate(), 0.01, quiet).gate(Recent(40, rows), other, active)
        assert result is not None
        assert (result.result, result.evidence["interval"]) == (verdict, "bootstrap")
        assert result.evidence["value"] == pytest.approx(1 - (factor - 2) / (factor + 2), abs=1e-3)


def test_a_run_that_fails_is_no_agreement(tmp_path: Path) -> None:
    """Of the candidate; what the active version cannot answer either tells nothing."""
    rows = [{"x": np.array([[number % 8]], np.int64)} for number in range(64)]
    large, small = (subject(tmp_path, onnx_models.gather(rows=size)) for size in (8, 4))
    result = Agreement(AccuracyGate(), 0.01, quiet).gate(Recent(64, rows), small, large)
    assert result is not None
    assert (result.result, result.evidence["failures"], result.evidence["samples"]) == ("failed", 32, 64)
    other = Agreement(AccuracyGate(), 0.01, quiet).gate(Recent(64, rows), large, small)
    assert other is not None
    assert (other.result, other.evidence["failures"], other.evidence["samples"]) == ("passed", 0, 32)


def test_too_few_say_nothing(tmp_path: Path) -> None:
    """One less than the least."""
    assert said(tmp_path, -2.0, ROWS[: LEAST_REQUESTS - 1]) is None
    result = said(tmp_path, -2.0, ROWS[:LEAST_REQUESTS])
    assert result is not None
    assert result.result == "failed"


def test_it_ends_when_enough_is_known_or_too_little_comes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past its time with the least number of requests; past a longer one without it."""
    monkeypatch.setattr(agreement, "_BUDGET", 0.0)
    result = said(tmp_path, 2.0)
    assert result is not None
    assert result.evidence["samples"] == LEAST_REQUESTS
    monkeypatch.setattr(agreement, "MOST_SECONDS", 0.0)
    assert said(tmp_path, 2.0) is None


@pytest.mark.parametrize(("batchable", "fewest", "most"), [(True, 8, 20), (False, 200, 200)])
def test_rows_go_together_where_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batchable: bool, fewest: int, most: int
) -> None:
    """What is no batch for the gateways is none here either; the verdict is the same."""
    monkeypatch.setattr(agreement, "_BITE", 60.0)
    runs: list[int] = []
    pair = [subject(tmp_path, onnx_models.scale(2.0), batchable=batchable) for _ in (0, 1)]
    run = pair[0].session.run_feeds
    monkeypatch.setattr(pair[0].session, "run_feeds", lambda feeds: [runs.append(len(feeds["x"])), run(feeds)][1])
    result = Agreement(AccuracyGate(), 0.01, quiet).gate(Recent(1000, [{"x": row} for row in ROWS]), *pair)
    assert result is not None
    assert (result.result, result.evidence["samples"], sum(runs)) == ("passed", 200, 200)
    assert fewest <= len(runs) <= most


def test_rows_that_take_long_go_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof rests between two steps, and no step may be long."""
    monkeypatch.setattr(agreement, "_BITE", 0.0)
    longest: list[int] = []
    pair = [subject(tmp_path, onnx_models.scale(2.0)) for _ in (0, 1)]
    run = pair[0].session.run_feeds
    monkeypatch.setattr(pair[0].session, "run_feeds", lambda feeds: [longest.append(len(feeds["x"])), run(feeds)][1])
    assert Agreement(AccuracyGate(), 0.01, quiet).gate(Recent(9, [{"x": row} for row in ROWS[:40]]), *pair) is not None
    assert max(longest) == 1


def test_requests_of_an_older_signature_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample may still hold some: neither version answers them, and they say nothing of the others."""
    monkeypatch.setattr(agreement, "_BITE", 60.0)
    pair = [subject(tmp_path, onnx_models.scale(2.0)) for _ in (0, 1)]
    requests = [{"x" if number % 3 else "old": row} for number, row in enumerate(ROWS[:90])]
    requests[7] = {"x": ROWS[7][:, :3]}
    result = Agreement(AccuracyGate(), 0.01, quiet).gate(Recent(90, requests), *pair)
    assert result is not None
    assert (result.result, result.evidence["samples"], result.evidence["failures"]) == ("passed", 59, 0)
