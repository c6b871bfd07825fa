"""Sums without rows, beside the figures made from the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest

from changeover.bench.check import Outcome
from changeover.bench.figures import latencies, percentiles, switches
from changeover.bench.records import Records, Timing
from changeover.bench.totals import Histogram, Totals

ORDER = tuple(str(i) for i in range(1, 8))


def random_rows(seed: int) -> list[tuple[Timing, str]]:
    """Answers of versions that mostly grow, with stragglers, in the order in which they were received."""
    generator = np.random.default_rng(seed)
    received = np.sort(generator.uniform(0, 10, 400))
    taken = generator.exponential(0.4, 400)
    newest = np.minimum(1 + (received / 1.5).astype(int), 7)
    versions = np.maximum(newest - (generator.random(400) < 0.1), 1)
    return [
        (Timing(float(at - s), float(at - s), float(at), fresh=False), str(v))
        for at, s, v in zip(received, taken, versions, strict=True)
    ]


def fill(records: Records, rows: list[tuple[Timing, str]]) -> None:
    for timing, version in rows:
        records.add_answer(timing, records.version_index(version), Outcome.OK, -1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order", [ORDER, ()])
def test_stale_answers_are_those_of_the_rows(seed: int, order: tuple[str, ...]) -> None:
    """Folded in pieces of any size, the switches and stale answers are the same as found in all rows at once."""
    rows, records, totals = random_rows(seed), Records(), Totals(order)
    fill(records, rows)
    piece = Records()
    for start in range(0, len(rows), 37):
        fill(piece, rows[start : start + 37])
        totals.add(piece)
        piece.clear_rows()
    assert totals.switches() == switches(records, ORDER)
    assert sum(switch.stale for switch in totals.switches()) > 0


def test_percentiles_are_at_most_two_percent_too_high() -> None:
    """The classes of the histogram are fine enough for figures, and the longest time is exact."""
    seconds = np.random.default_rng(1).lognormal(-5, 1, 5000)
    histogram = Histogram()
    for part in np.array_split(seconds, 7):
        histogram.add(part)
    right, found = percentiles(seconds), histogram.percentiles()
    assert found["max"] == right["max"]
    for name, value in right.items():
        assert value * 0.999 <= found[name] <= value * 1.021
    assert Histogram().percentiles() == {}


def test_failed_and_shed_requests_stay_out_of_the_latencies() -> None:
    """Latency is that of answers; what was shed has a latency of its own, what failed none."""
    records, totals = Records(), Totals()
    fill(records, random_rows(3)[:50])
    records.add_failure(Timing(0.0, 0.0, 900.0, fresh=False), 0, "timeout")
    records.add_failure(Timing(0.0, 0.0, 0.005, fresh=False), 503, "queue_full", Outcome.SHED)
    totals.add(records)
    figures = totals.figures()
    assert figures["latency_ms"]["max"] == percentiles(latencies(records))["max"]
    assert figures["shed_ms"]["p99"] == 5.0
    assert figures["failures"] == {"timeout": 1, "503 queue_full": 1}
